"""Reads a bundle, the folder of one trained model, and verifies its files against the checksums in its manifest.

Training writes a bundle completely and then renames it to its final path. Nothing changes it after that. Reading a
bundle loads no pickle.

Shapes: R items, E feature columns, P content width.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rqrec.models.bundle.checksums import check_file, check_files
from rqrec.models.bundle.error import BundleError, reading
from rqrec.models.bundle.item_map import ItemMap, read_map
from rqrec.models.bundle.layout import (
    CONTENT_CLUSTERS,
    CONTENTS,
    FEATURIZER,
    FOLLOWING,
    ITEM_VECTORS,
    ITEMS,
    LARGE_FILES,
    LEARNED_ITEMS,
    MAP,
    MEANINGS,
    NEW_ITEMS,
    NEW_VECTORS,
    PROJECTION,
    TRANSITIONS,
)
from rqrec.models.bundle.learned_items import LARGEST_VECTOR, LearnedItems, read_learned_items
from rqrec.models.bundle.manifest import Manifest, read_manifest
from rqrec.models.bundle.mapped.content_clusters import read_content_clusters
from rqrec.models.bundle.mapped.new_items import LARGEST_UNIT, read_new_items
from rqrec.models.bundle.mapped.transitions import check_transitions, read_mapped_transitions
from rqrec.models.bundle.meanings import Meanings, read_meanings
from rqrec.models.bundle.store import bundle_folder, bundles_at_hand
from rqrec.models.bundle.tables import check_numbers, read_items, read_matrix
from rqrec.models.bundle.transition_table import read_transitions
from rqrec.models.search.history.transitions import Transitions
from rqrec.models.search.new.new_item_index import NewItemIndex
from rqrec.models.tokenizer.featurizer import Featurizer
from rqrec.models.vector_index import VectorIndex

# Within these bounds, the vector of a new item is finite: products and squares of the numbers stay within float32.
LARGEST_PROJECTION = 1e6
LARGEST_CONTENT = 2.0  # contents have unit length


@dataclass(frozen=True, eq=False)
class Bundle:
    """The content of a bundle whose files were verified, without its ONNX graphs and weights.

    The graphs and weights are loaded from `path` by the code that runs them.

    Attributes:
        path: The path of the bundle's folder.
        manifest: The bundle's metadata, such as its version and sizes.
        items: One row per item: the column `item_id` and the attributes of the item.
        learned: What training learned about each item: its semantic ID, its popularity, and the item vector that the
            search reads.
        transitions: The items that followed each item in the training data, in the order of the leaves of
            `learned.trie`; None if they are no candidates.
        featurizer: Computes the features of an item from its attributes.
        projection_EP: The matrix that projects E feature columns to a content vector of width P, float32.
        contents_RP: The content vector of each item, with which the contents of new items are compared; at unit
            length, in the row order of `items`, float16 or float32. They are mapped from the file.
        content_clusters: The clusters of the contents of the known items; None to compute them when they are needed.
        new_items: The index of the items that nobody chose in the training data; None to make it when it is needed.
        meanings: What the items below each prefix of semantic IDs have in common; None if the bundle does not say it.
        map: The place of each item on a map of the catalogue, in the row order of `items`; None if there is no map.
    """

    path: Path
    manifest: Manifest
    items: pl.DataFrame
    learned: LearnedItems
    transitions: Transitions | None
    featurizer: Featurizer
    projection_EP: NDArray[np.float32]
    contents_RP: NDArray[np.floating]
    content_clusters: VectorIndex | None
    new_items: NewItemIndex | None
    meanings: Meanings | None
    map: ItemMap | None


def read_bundle(path: Path, *, defer_mapped: bool = False) -> Bundle:
    """Reads and verifies a bundle.

    Args:
        path: A bundle's folder, or a folder of bundles whose `current` link names one of them.
        defer_mapped: Whether to leave out the checks that read the files that are mapped into memory. The caller must
            call `check_mapped_files` soon.

    Raises:
        BundleError: If the bundle is missing, has an unreadable format, or is truncated, altered or invalid. No other
            error is raised.
    """
    folder = bundle_folder(path)
    manifest = read_manifest(folder)
    deferred = LARGE_FILES if manifest.is_mapped else ()
    check_files(folder, [name for name in manifest.files if name not in deferred], manifest.checksums)
    rows, config = manifest.num_items, manifest.retriever_config
    with reading(folder, ITEMS):
        items = read_items(folder / ITEMS, rows=rows)
    with reading(folder, LEARNED_ITEMS):
        learned = read_learned_items(
            folder,
            rows=rows,
            levels=config.num_levels,
            codebook_size=config.codebook_size,
            width=config.vector_width,
            is_mapped=manifest.is_mapped,
        )
    transitions = _read_transitions(folder, manifest, learned)
    with reading(folder, FEATURIZER):
        featurizer = Featurizer.from_json((folder / FEATURIZER).read_text(encoding="utf-8"))
        if featurizer.width != config.feature_dim:
            raise ValueError(f"expected {config.feature_dim} columns of features, got {featurizer.width}")
    with reading(folder, PROJECTION):
        projection_EP = read_matrix(
            folder / PROJECTION, (np.float32,), rows=featurizer.width, columns=None, largest=LARGEST_PROJECTION
        )
    with reading(folder, CONTENTS):
        kinds, columns = (np.float16, np.float32), projection_EP.shape[1]
        largest = None if manifest.is_mapped else LARGEST_CONTENT
        contents_RP = read_matrix(folder / CONTENTS, kinds, rows=rows, columns=columns, largest=largest)
    clusters, new_items = _read_indexes(folder, manifest, learned, contents_RP)
    insight = _read_insight(folder, manifest)
    bundle = Bundle(
        *(folder, manifest, items, learned, transitions, featurizer, projection_EP, contents_RP),
        *(clusters, new_items, *insight),
    )
    if not defer_mapped:
        check_mapped_files(bundle)
    return bundle


def _read_indexes(
    folder: Path, manifest: Manifest, learned: LearnedItems, contents_RP: NDArray[np.floating]
) -> tuple[VectorIndex | None, NewItemIndex | None]:
    """Reads the clusters of contents and the index of new items, which the bundle of a large catalogue has."""
    if not manifest.is_mapped:
        return None, None
    with reading(folder, CONTENT_CLUSTERS[0]):
        known = len(learned.known_rows)
        clusters = read_content_clusters(folder, known=known, columns=contents_RP.shape[1])
    with reading(folder, NEW_ITEMS[0]):
        popularity_N = learned.popularity_R[learned.trie.row_of_leaf_N]
        return clusters, read_new_items(folder, popularity_N=popularity_N, width=learned.vectors.rows.shape[1])


def check_mapped_files(bundle: Bundle) -> None:
    """Checks the checksums and the values of the files that are mapped into memory. It reads them twice.

    Args:
        bundle: The bundle, which was read with `defer_mapped`.

    Raises:
        BundleError: If a file is damaged, or a value is out of range.
    """
    folder, manifest = bundle.path, bundle.manifest
    if not manifest.is_mapped:
        return
    for name in LARGE_FILES:  # one after the other: at the end of the program, nobody waits for the thread that checks
        if name in manifest.files:
            check_file(folder, name, manifest.checksums.get(name))
    with reading(folder, ITEM_VECTORS):
        check_numbers(bundle.learned.vectors.rows, LARGEST_VECTOR)
    if bundle.new_items is not None:
        with reading(folder, NEW_VECTORS):
            check_numbers(bundle.new_items.units.rows, LARGEST_UNIT)
    with reading(folder, CONTENTS):
        check_numbers(bundle.contents_RP, LARGEST_CONTENT)
    if bundle.transitions is not None:
        with reading(folder, FOLLOWING[1]):
            check_transitions(bundle.transitions)


def _read_transitions(folder: Path, manifest: Manifest, learned: LearnedItems) -> Transitions | None:
    """Reads what followed the item of each leaf, if the model asks for it."""
    if manifest.following_weight is None:
        return None
    if manifest.is_mapped:
        with reading(folder, FOLLOWING[0]):
            return read_mapped_transitions(folder, rows=manifest.num_items)
    with reading(folder, TRANSITIONS):
        transitions = read_transitions(folder / TRANSITIONS, rows=manifest.num_items)
        return transitions.reordered(learned.trie.row_of_leaf_N)


def _read_insight(folder: Path, manifest: Manifest) -> tuple[Meanings | None, ItemMap | None]:
    """Reads the meaning of codes and the map of items, if the bundle has them."""
    if not manifest.has_insight:
        return None, None
    config = manifest.retriever_config
    with reading(folder, MEANINGS):
        meanings = read_meanings(folder / MEANINGS, codebook_size=config.codebook_size, levels=config.num_levels)
    with reading(folder, MAP):
        return meanings, read_map(folder / MAP, rows=manifest.num_items)


def read_version(path: Path, version: str, *, defer_mapped: bool = False) -> Bundle:
    """Reads and verifies the bundle of a given version in a folder of bundles.

    Args:
        path: A folder of bundles, or one bundle's folder.
        version: The version of the bundle to read.
        defer_mapped: Whether to leave out the checks of `check_mapped_files`.

    Raises:
        BundleError: If the folder has no bundle of this version, or the bundle cannot be used.
    """
    folder = bundles_at_hand(path).get(version)
    if folder is None:
        raise BundleError(f"there is no bundle {version!r} in {path}: publish it there, or copy it there")
    bundle = read_bundle(folder, defer_mapped=defer_mapped)
    if bundle.manifest.version != version:
        raise BundleError(f"the bundle in {folder} is {bundle.manifest.version!r}: name its folder by its version")
    return bundle
