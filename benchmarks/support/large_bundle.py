"""Makes a bundle of any number of items from a trained one: copies of its items with other ids, titles and vectors.

Shapes: N items, R items of the trained bundle, D width of learnt vectors, P content width.
"""

import shutil
from argparse import ArgumentParser
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.support.synthetic import CODEBOOK_SIZE, synthetic_codes
from rqrec.models.array_types import IntArray
from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.models.bundle.golden import record_golden
from rqrec.models.bundle.layout import (
    CONTENT_CLUSTERS,
    CONTENTS,
    FEATURES,
    FOLLOWING,
    ITEM_VECTORS,
    ITEMS,
    LEARNED_ITEMS,
    MAP,
    MAPPED_FROM,
    MEANINGS,
    NEW_ITEMS,
    NEW_VECTORS,
    TRANSITIONS,
)
from rqrec.models.bundle.learned_items import write_learned_items
from rqrec.models.bundle.manifest import seal_bundle
from rqrec.models.bundle.mapped.content_clusters import write_content_clusters
from rqrec.models.bundle.mapped.new_items import write_new_items
from rqrec.models.bundle.tables import ITEM_ID
from rqrec.models.bundle.transition_table import write_transitions
from rqrec.models.items.content_neighbours import SomeRows, content_clusters
from rqrec.models.search.history.transitions import Transitions
from rqrec.models.trie.trie import NO_LEAF, SemanticIdTrie
from rqrec.service.composition import load_options
from rqrec.service.serving.loading import load_snapshot
from rqrec.service.settings import Settings
from rqrec.service.telemetry import Metrics
from rqrec.training.insight.meanings import find_meanings

TITLE, MAKER = "title", "maker"
MAKERS, WORDS = 20_000, 200_000
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprst" for vowel in "aeiou"]
VECTOR_NOISE, MAP_NOISE = 0.3, 0.05  # of a vector's length
AT_ONCE = 1 << 17  # items
# Files that the new bundle has of its own, or lacks; only a retraining reads the features.
REPLACED = (
    ITEMS,
    LEARNED_ITEMS,
    CONTENTS,
    *CONTENT_CLUSTERS,
    MAP,
    MEANINGS,
    FEATURES,
    TRANSITIONS,
    ITEM_VECTORS,
    *FOLLOWING,
    *NEW_ITEMS,
    NEW_VECTORS,
)


def check_enlargeable(bundle: Bundle) -> None:
    """Checks that a bundle has a map and the number of codes per level of synthetic IDs.

    Args:
        bundle: The bundle whose items are to be copied.

    Raises:
        ValueError: If it does not.
    """
    size = bundle.manifest.codebook_size
    if size != CODEBOOK_SIZE or bundle.map is None:
        found = f"{size} codes and {'no' if bundle.map is None else 'a'} map"
        raise ValueError(
            f"a larger catalogue needs a bundle with {CODEBOOK_SIZE} codes per level and a map, but {bundle.path} has "
            f"{found}: use a bundle of the default recipe, or its own catalogue"
        )


def bundle_of(path: Path, parser: ArgumentParser, *, enlarges: bool) -> Bundle:
    """Reads the bundle of a command line, and ends the program if it has to be enlarged and cannot.

    Args:
        path: A bundle, or a folder of bundles.
        parser: Tells the reason.
        enlarges: Whether the bundle has to be enlarged.
    """
    bundle = read_bundle(path)
    if enlarges:
        try:
            check_enlargeable(bundle)
        except ValueError as error:
            parser.error(str(error))
    return bundle


def enlarged(bundle: Bundle, folder: Path, num_items: int, *, insight: bool = True) -> Path:
    """Writes a bundle with copies of the given bundle's items. Returns its folder.

    Semantic IDs are synthetic. Two words of a vocabulary of 200,000 are added to each title, noise to each vector, and
    a label `maker` with 20,000 values to each item. Arrays are written part by part. Ten million items take about 16 GB
    of disk, and memory for the items, which are strings, and for the start of the service.

    Args:
        bundle: The bundle whose items are copied; see `check_enlargeable`.
        folder: The parent of the new bundle's folder.
        num_items: N, the number of items in the new bundle.
        insight: Whether the bundle gets the meaning of codes and a map, which take most of the time.

    Raises:
        ValueError: If the bundle cannot be enlarged.
    """
    check_enlargeable(bundle)
    shutil.copytree(bundle.path, target := folder / f"{num_items}-items", ignore=shutil.ignore_patterns(*REPLACED))
    rng, rows_N = np.random.default_rng(0), np.arange(num_items) % len(bundle.items)
    codes_NL, popularity_N = synthetic_codes(num_items, seed=0), bundle.learned.popularity_R[rows_N]
    trie = SemanticIdTrie.build(codes_NL, codebook_size=CODEBOOK_SIZE)
    items = _items(bundle.items[rows_N], rng)
    items.write_parquet(target / ITEMS)
    if insight:
        assert bundle.map is not None
        _write_noisy(target / MAP, bundle.map.places_R2, rows_N, MAP_NOISE, rng)
        find_meanings(codes_NL, items, bundle.featurizer, codebook_size=CODEBOOK_SIZE).write_parquet(target / MEANINGS)
    del codes_NL, items
    _write_arrays(target, bundle, trie, popularity_N, rng)
    manifest = replace(
        bundle.manifest,
        version=target.name,
        num_items=num_items,
        golden=[],
        has_features=False,
        has_insight=insight,
        is_mapped=num_items >= MAPPED_FROM,
    )
    seal_bundle(target, manifest)
    snapshot = load_snapshot(read_bundle(target), load_options(Settings(bundle=target)), Metrics())
    golden = record_golden(snapshot.recommender, popularity_N)
    seal_bundle(target, replace(manifest, golden=[asdict(one) for one in golden]))
    return target


def _write_arrays(
    target: Path, bundle: Bundle, trie: SemanticIdTrie, popularity_N: IntArray, rng: np.random.Generator
) -> None:
    """Writes contents, vectors and transitions, those of a large catalogue as files to be mapped."""
    num_items, num_rows = trie.num_leaves, len(bundle.items)
    rows_N, row_of_leaf_N = np.arange(num_items) % num_rows, trie.row_of_leaf_N.astype(np.int64) % num_rows
    _write_noisy(target / CONTENTS, bundle.contents_RP, rows_N, VECTOR_NOISE, rng)
    by_row = None if bundle.transitions is None else bundle.transitions.reordered(bundle.learned.leaf_of_row_R)
    if num_items >= MAPPED_FROM:
        write_learned_items(target, trie, popularity_N, None)
        _write_noisy(target / ITEM_VECTORS, bundle.learned.vectors_RD, row_of_leaf_N, VECTOR_NOISE, rng)
        vectors_ND = np.load(target / ITEM_VECTORS, mmap_mode="r", allow_pickle=False)
        write_new_items(target, popularity_N[trie.row_of_leaf_N], vectors_ND)
        contents_NP = np.load(target / CONTENTS, mmap_mode="r", allow_pickle=False)
        write_content_clusters(content_clusters(SomeRows(contents_NP, np.flatnonzero(popularity_N))), target)
        if by_row is not None:
            _write_mapped_copies(target, by_row, row_of_leaf_N, trie.leaf_of_row_N[:num_rows])
        return
    write_learned_items(target, trie, popularity_N, _noisy(bundle.learned.vectors_RD[rows_N], VECTOR_NOISE, rng))
    if by_row is not None:
        write_transitions(by_row, target / TRANSITIONS)
        copies = pl.read_parquet(target / TRANSITIONS)[rows_N]  # what followed a copy are items of the trained bundle
        copies.write_parquet(target / TRANSITIONS)


def _write_mapped_copies(target: Path, by_row: Transitions, row_of_leaf_N: IntArray, leaf_of_row_R: IntArray) -> None:
    """Writes the transitions of copies: after a copy, items of the trained bundle follow."""
    counts_R = np.diff(by_row.starts_N)
    starts_N = np.concatenate([[0], np.cumsum(counts_R[row_of_leaf_N])])
    kinds = [one_P for one_P in (by_row.strengths_P, by_row.session_strengths_P) if one_P is not None]
    size = int(starts_N[-1]) + 1  # with the pair of an empty entry
    starts, items, strengths = (target / name for name in FOLLOWING)
    np.save(starts, np.append(starts_N, starts_N[-1]).astype(np.int32), allow_pickle=False)
    to_items = np.lib.format.open_memmap(items, mode="w+", dtype=np.int32, shape=(size,))
    to_strengths = np.lib.format.open_memmap(strengths, mode="w+", dtype=np.float32, shape=(len(kinds) * size,))
    to_items[-1] = NO_LEAF
    for begin in range(0, len(row_of_leaf_N), AT_ONCE):
        rows = row_of_leaf_N[begin : begin + AT_ONCE]
        first, last = starts_N[begin], starts_N[begin + len(rows)]
        shift = by_row.starts_N[rows] - starts_N[begin : begin + len(rows)]
        pairs_P = np.arange(first, last) + np.repeat(shift, counts_R[rows])
        to_items[first:last] = leaf_of_row_R[by_row.items_P[pairs_P]]
        for number, strengths_P in enumerate(kinds):
            to_strengths[number * size + first : number * size + last] = strengths_P[pairs_P]


def _write_noisy(
    path: Path, vectors_RX: NDArray[np.floating], rows_N: IntArray, share: float, rng: np.random.Generator
) -> None:
    """Writes copies of vectors with noise, part by part."""
    shape = (len(rows_N), vectors_RX.shape[1])
    memory = np.lib.format.open_memmap(path, mode="w+", dtype=vectors_RX.dtype, shape=shape)
    for begin in range(0, len(rows_N), AT_ONCE):
        memory[begin : begin + AT_ONCE] = _noisy(vectors_RX[rows_N[begin : begin + AT_ONCE]], share, rng)
    memory.flush()


def _items(copies: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """The copies of items with other ids, longer titles, and makers."""
    numbers = pl.Series(ITEM_ID, np.arange(len(copies))).cast(pl.String)
    words = pl.Series([_word(number) for number in range(max(MAKERS, WORDS))])
    makers = words.gather(_skewed(MAKERS, len(copies), rng))
    named = copies.with_columns(("copy-" + numbers).alias(ITEM_ID), (makers + " & co").alias(MAKER))
    if TITLE not in named.columns:
        return named
    added = [words.gather(_skewed(WORDS, len(copies), rng)) for _ in range(2)]
    return named.with_columns(named[TITLE].fill_null("") + " " + added[0] + " " + added[1])


def _skewed(count: int, draws: int, rng: np.random.Generator) -> IntArray:
    """Numbers below a count, of which small ones are more common."""
    return (count * rng.random(draws) ** 3).astype(np.int64)


def _word(number: int) -> str:
    """A word that stands for a number."""
    word = ""
    for _ in range(4):
        number, syllable = divmod(number, len(SYLLABLES))
        word += SYLLABLES[syllable]
    return word


def _noisy(vectors_NX: NDArray[np.floating], share: float, rng: np.random.Generator) -> NDArray[np.floating]:
    """Vectors with noise, whose length is a share of the mean vector's length; of the same type."""
    length = float(np.linalg.norm(vectors_NX[:1000].astype(np.float32), axis=1).mean())
    noise_NX = rng.standard_normal(vectors_NX.shape, dtype=np.float32) * (share * length / vectors_NX.shape[1] ** 0.5)
    noisy_NX: NDArray[np.floating] = (vectors_NX + noise_NX).astype(vectors_NX.dtype)
    return noisy_NX
