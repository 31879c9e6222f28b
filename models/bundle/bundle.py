"""The bundle: the versioned folder in which training hands a model to the service. Only this module touches disk.

A bundle is written whole and renamed into place, then never changed:

    manifest.json          format, version, shapes, data fingerprint, metrics, known answers, configuration, checksums
    retriever.safetensors  weights of the retriever
    tokenizer.safetensors  weights of the RQ-VAE
    tokenizer.onnx         features_NE → codes_NL
    search.onnx            histories → best leaves, log-probabilities and scores
    search_fp16.onnx       the same in half precision, for a GPU
    featurizer.json        how an item's attributes become its features
    projection.npy         features → content
    contents.npy           the content of each item, by which new items find their like
    items.parquet          item_id and the item's attributes, whatever their names
    learned_items.parquet  semantic_id, popularity and item_vector of the same rows
    text_encoder.onnx      token_ids_NT, mask_NT → vectors_NE: the sentence encoder of training, if it can be exported
    text_tokenizer.json    text → tokens, likewise

Reading checks every file against the manifest. No pickle is ever loaded.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from reprlib import repr as shortened

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import TypeAdapter

from rqrec.models.bundle.error import BundleError, reading
from rqrec.models.bundle.learned_items import LearnedItems
from rqrec.models.bundle.manifest import MANIFEST, Manifest, manifest_checksum
from rqrec.models.bundle.tables import ITEM_ID, read_items, read_matrix
from rqrec.models.files import to_disk
from rqrec.models.tokenizer.featurizer import Featurizer

__all__ = [
    "ITEM_ID",
    "MANIFEST",
    "Bundle",
    "BundleError",
    "LearnedItems",
    "Manifest",
    "bundles_at_hand",
    "current_version",
    "point_current",
    "read_bundle",
    "read_manifest",
    "read_version",
    "seal_bundle",
]
FORMAT = 9  # 8: items' attributes lie apart from what was learned of them; 9: the encoder of texts is in the bundle
READABLE_FORMATS = (9,)
ITEMS, LEARNED_ITEMS = "items.parquet", "learned_items.parquet"
RETRIEVER_WEIGHTS, TOKENIZER_WEIGHTS = "retriever.safetensors", "tokenizer.safetensors"
TOKENIZER_GRAPH = "tokenizer.onnx"
SEARCH_GRAPH, HALF_SEARCH_GRAPH = "search.onnx", "search_fp16.onnx"
FEATURIZER, PROJECTION, CONTENTS = "featurizer.json", "projection.npy", "contents.npy"
GRAPHS = (TOKENIZER_GRAPH, SEARCH_GRAPH, HALF_SEARCH_GRAPH)
FILES = (RETRIEVER_WEIGHTS, TOKENIZER_WEIGHTS, *GRAPHS, FEATURIZER, PROJECTION, CONTENTS, ITEMS, LEARNED_ITEMS)
TEXT_ENCODER_GRAPH, TEXT_TOKENIZER = "text_encoder.onnx", "text_tokenizer.json"
TEXT_FILES = (TEXT_ENCODER_GRAPH, TEXT_TOKENIZER)
CURRENT = "current"


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle that has been read and verified, but for its graphs and weights: whoever opens those verifies them.

    Attributes:
        path: Its folder.
        manifest: What it says of itself.
        items: item_id and the attributes, in training's row order.
        learned: What was learned of the same rows.
        featurizer: Attributes to features.
        projection_EP: Features to content.
        contents_RP: The content of the same rows.
    """

    path: Path
    manifest: Manifest
    items: pl.DataFrame
    learned: LearnedItems
    featurizer: Featurizer
    projection_EP: NDArray[np.float32]
    contents_RP: NDArray[np.floating]


def read_bundle(path: Path) -> Bundle:
    """Reads and verifies a bundle.

    Args:
        path: A bundle's folder, or a folder of bundles whose `current` link names one.

    Raises:
        BundleError: If the bundle is missing, of another format, truncated, altered or wrong; nothing else is raised.
    """
    folder = _folder(path)
    manifest = read_manifest(folder)
    for name in _files(manifest):
        _check_file(folder, name, manifest.checksums.get(name))
    rows, config = manifest.num_items, manifest.retriever_config
    with reading(folder, ITEMS):
        items = read_items(folder / ITEMS, rows=rows)
    with reading(folder, LEARNED_ITEMS):
        learned = LearnedItems.read(
            folder / LEARNED_ITEMS,
            rows=rows,
            levels=config.num_levels,
            codebook_size=config.codebook_size,
            width=config.width,
        )
    with reading(folder, FEATURIZER):
        featurizer = Featurizer.from_json((folder / FEATURIZER).read_text(encoding="utf-8"))
        if featurizer.width != config.feature_dim:
            raise ValueError(f"expected {config.feature_dim} columns of features, got {featurizer.width}")
    with reading(folder, PROJECTION):
        projection_EP = read_matrix(folder / PROJECTION, (np.float32,), rows=featurizer.width, columns=None)
    with reading(folder, CONTENTS):
        kinds, columns = (np.float16, np.float32), projection_EP.shape[1]
        contents_RP = read_matrix(folder / CONTENTS, kinds, rows=rows, columns=columns)
    return Bundle(folder, manifest, items, learned, featurizer, projection_EP, contents_RP)


def read_version(path: Path, version: str) -> Bundle:
    """Reads and verifies one of the bundles at hand.

    Raises:
        BundleError: If there is none of that version, or it cannot be used.
    """
    folder = bundles_at_hand(path).get(version)
    if folder is None:
        raise BundleError(f"there is no bundle {version!r} in {path}: publish or copy it there")
    bundle = read_bundle(folder)
    if bundle.manifest.version != version:
        raise BundleError(f"the bundle in {folder} is {bundle.manifest.version!r}: name its folder by its version")
    return bundle


def bundles_at_hand(path: Path) -> dict[str, Path]:
    """The bundles of a folder, by version, or the one bundle that the path is; nothing is verified.

    What cannot be looked at is left out, so that one bad folder hides no other.
    """
    if _is_file(path / MANIFEST) and not _is_file(path / CURRENT / MANIFEST):
        try:
            return {read_manifest(path.resolve()).version: path.resolve()}
        except BundleError:
            return {path.resolve().name: path.resolve()}
    try:
        folders = sorted(path.iterdir())
    except OSError:
        return {}
    shown = (folder for folder in folders if not folder.is_symlink() and not folder.name.startswith("."))
    return {folder.name: folder.absolute() for folder in shown if _is_file(folder / MANIFEST)}


def current_version(path: Path) -> str:
    """The version that `current` names, or of the one bundle that the path is.

    Raises:
        BundleError: If there is none.
    """
    return read_manifest(_folder(path)).version


def seal_bundle(folder: Path, manifest: Manifest) -> None:
    """Adds the manifest, with the checksums of the files that the folder holds; the last step of writing a bundle."""
    fields = asdict(manifest) | {"checksums": {name: _sha256(folder / name) for name in _files(manifest)}}
    fields["checksums"][MANIFEST] = manifest_checksum(fields)
    (folder / MANIFEST).write_text(json.dumps(fields, indent=2), encoding="utf-8")


def point_current(bundles: Path, version: str) -> None:
    """Lets the folder's `current` link name a version, in one atomic step."""
    staged = bundles / f".{CURRENT}-{os.getpid()}"
    staged.unlink(missing_ok=True)
    staged.symlink_to(version)
    staged.replace(bundles / CURRENT)
    to_disk(bundles)


def read_manifest(folder: Path) -> Manifest:
    """Reads what a bundle says of itself; its other files are not looked at.

    Raises:
        BundleError: If the manifest is missing, of another format, truncated, altered or wrong.
    """
    path = folder / MANIFEST
    with reading(folder, MANIFEST):
        if not path.is_file():
            raise BundleError(f"there is no bundle at {folder} ({MANIFEST} is missing): run `make run` to train one")
        text = path.read_text(encoding="utf-8")
        fields = json.loads(text)
        found = fields.get("format") if isinstance(fields, dict) else None
        if found not in READABLE_FORMATS:
            newer = isinstance(found, int) and found > max(READABLE_FORMATS)
            remedy = "upgrade this software, or publish with this version" if newer else "publish again"
            readable = f"{min(READABLE_FORMATS)}-{max(READABLE_FORMATS)}"
            raise BundleError(f"bundle format {shortened(found)} is not readable here ({readable}): {remedy}")
        try:
            Manifest(**fields)
        except TypeError as error:
            raise BundleError(f"{path} has missing or unknown fields ({error}): publish again") from error
        if fields["checksums"].get(MANIFEST) != manifest_checksum(fields):
            raise BundleError(
                f"{path} does not match its own checksum: it was altered; copy or publish the bundle again"
            )
        manifest = TypeAdapter(Manifest).validate_json(text, strict=True)
        manifest.check()
        return manifest


def _files(manifest: Manifest) -> tuple[str, ...]:
    return FILES if manifest.no_text_encoder else (*FILES, *TEXT_FILES)


def _folder(path: Path) -> Path:
    with reading(path, CURRENT):
        current = path / CURRENT
        if current.is_symlink() and not _is_file(current / MANIFEST):
            raise BundleError(
                f"{current} names {current.readlink()}, and no bundle is there: let it name one of "
                f"{sorted(bundles_at_hand(path))}, or publish again"
            )
        return (current if _is_file(current / MANIFEST) else path).resolve()


def _is_file(path: Path) -> bool:
    """Whether there is such a file, as far as this user can see."""
    try:
        return path.is_file()
    except OSError:
        return False


def _check_file(folder: Path, name: str, checksum: str | None) -> None:
    with reading(folder, name):
        if not (folder / name).is_file():
            raise BundleError(f"bundle {folder} lacks {name}: it was copied in part; copy or publish it again")
        if _sha256(folder / name) != checksum:
            raise BundleError(
                f"{name} of bundle {folder} does not match the checksum in its manifest: the file was truncated or "
                "altered; copy or publish the bundle again"
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
