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
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

FORMAT = 9  # 8: items' attributes lie apart from what was learned of them; 9: the encoder of texts is in the bundle
READABLE_FORMATS = (9,)
MANIFEST = "manifest.json"
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
ITEM_ID = "item_id"
SEMANTIC_ID, POPULARITY, ITEM_VECTOR = "semantic_id", "popularity", "item_vector"


class BundleError(ValueError):
    """Raised when a bundle cannot be read; says what is wrong with it and what to do."""


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself.

    Attributes:
        format: Version of the bundle's layout.
        version: Name of the model, unique to this training run.
        created_at: ISO 8601 time of publishing, UTC.
        dataset: Name of the data set.
        data_fingerprint: SHA-256 of the data set, hexadecimal.
        num_items: Rows of items.parquet.
        retriever: The fields of `RetrieverConfig`.
        tokenizer: The fields of `RqVaeConfig`.
        metrics: What evaluation measured, by group.
        no_text_encoder: Why the bundle holds no encoder of texts; empty where it holds one.
        golden: Histories and their answers (see `models.golden`).
        config: The resolved gin configuration, as text.
        checksums: SHA-256 of every file, by name; the manifest's own is over its other fields.
    """

    format: int
    version: str
    created_at: str
    dataset: str
    data_fingerprint: str
    num_items: int
    retriever: Mapping[str, object]
    tokenizer: Mapping[str, object]
    metrics: Mapping[str, Mapping[str, float]]
    no_text_encoder: str
    golden: Sequence[Mapping[str, Any]]
    config: str
    checksums: Mapping[str, str]

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files beside the manifest."""
        return FILES if self.no_text_encoder else (*FILES, *TEXT_FILES)

    @property
    def codebook_size(self) -> int:
        """V, codes per level."""
        return int(str(self.retriever["codebook_size"]))

    @property
    def relevance_weight(self) -> float:
        """Weight of an item's rating beside its log-probability."""
        return float(str(self.retriever["relevance_weight"]))

    @property
    def max_history(self) -> int:
        """T, the most recent items that the retriever reads."""
        return int(str(self.retriever["max_history"]))


@dataclass(frozen=True, eq=False)
class LearnedItems:
    """What training learned of the items, a row an item.

    Shapes: R items, L levels, D width.

    Attributes:
        codes_RL: Their semantic IDs, int64.
        popularity_R: How often each was chosen in training, int64.
        vectors_RD: What the search reads of each, float32.
    """

    codes_RL: NDArray[np.int64]
    popularity_R: NDArray[np.int64]
    vectors_RD: NDArray[np.float32]

    def write(self, path: Path) -> None:
        """Writes a table that `read` reads."""
        columns = {
            SEMANTIC_ID: self.codes_RL.astype(np.int32),
            POPULARITY: self.popularity_R,
            ITEM_VECTOR: self.vectors_RD,
        }
        pl.DataFrame(columns).write_parquet(path)

    @classmethod
    def read(cls, path: Path) -> "LearnedItems":
        """Reads what `write` wrote."""
        frame = pl.read_parquet(path)
        return cls(
            frame[SEMANTIC_ID].to_numpy().astype(np.int64),
            frame[POPULARITY].to_numpy().astype(np.int64),
            frame[ITEM_VECTOR].to_numpy(),
        )


@dataclass(frozen=True)
class Bundle:
    """A bundle that has been read and verified.

    Attributes:
        path: Its folder.
        manifest: What it says of itself.
        items: item_id and the attributes, in training's row order.
        learned: What was learned of the same rows.
    """

    path: Path
    manifest: Manifest
    items: pl.DataFrame
    learned: LearnedItems


def read_bundle(path: Path) -> Bundle:
    """Reads and verifies a bundle.

    Args:
        path: A bundle's folder, or a folder of bundles whose `current` link names one.

    Raises:
        BundleError: If the bundle is missing, of another format, truncated or altered.
    """
    folder = _folder(path)
    manifest = read_manifest(folder)
    for name in manifest.files:
        file = folder / name
        if not file.is_file():
            raise BundleError(f"bundle {folder} lacks {name}: it was copied in part; copy or publish it again")
        if name not in manifest.checksums or _sha256(file) != manifest.checksums[name]:
            raise BundleError(
                f"{name} of bundle {folder} does not match the checksum in its manifest: the file was truncated or "
                "altered; copy or publish the bundle again"
            )
    items, learned = pl.read_parquet(folder / ITEMS), LearnedItems.read(folder / LEARNED_ITEMS)
    if ITEM_ID not in items.columns or {len(items), len(learned.codes_RL)} != {manifest.num_items}:
        raise BundleError(
            f"{ITEMS} and {LEARNED_ITEMS} of bundle {folder} must have {manifest.num_items} rows and the column "
            f"{ITEM_ID!r}, got {len(items)} and {len(learned.codes_RL)} rows and {items.columns}: publish the bundle "
            "again"
        )
    return Bundle(folder, manifest, items, learned)


def bundles_at_hand(path: Path) -> dict[str, Path]:
    """The bundles of a folder, by version, or the one bundle that the path is; nothing is verified."""
    if not (path / CURRENT).exists():
        return {read_manifest(path).version: path.resolve()}
    folders = (
        folder for folder in sorted(path.iterdir()) if not folder.is_symlink() and not folder.name.startswith(".")
    )
    return {folder.name: folder.resolve() for folder in folders if (folder / MANIFEST).is_file()}


def current_version(path: Path) -> str:
    """The version that `current` names, or of the one bundle that the path is.

    Raises:
        BundleError: If there is none.
    """
    return read_manifest(_folder(path)).version


def seal_bundle(folder: Path, manifest: Manifest) -> None:
    """Adds the manifest, with the checksums of the files that the folder holds; the last step of writing a bundle."""
    fields = asdict(manifest) | {"checksums": {name: _sha256(folder / name) for name in manifest.files}}
    fields["checksums"][MANIFEST] = _manifest_checksum(fields)
    (folder / MANIFEST).write_text(json.dumps(fields, indent=2), encoding="utf-8")


def point_current(bundles: Path, version: str) -> None:
    """Lets the folder's `current` link name a version, in one atomic step."""
    staged = bundles / f".{CURRENT}-{os.getpid()}"
    staged.unlink(missing_ok=True)
    staged.symlink_to(version)
    staged.replace(bundles / CURRENT)


@contextmanager
def new_directory(target: Path) -> Iterator[Path]:
    """Yields a fresh folder that takes the target's place if the block succeeds, and is removed if it fails.

    Whoever looks at the target sees the whole old folder, for an instant none, or the whole new one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield staged
        staged.chmod(0o755)
        if target.exists():
            replaced = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
            target.rename(replaced / target.name)
            staged.rename(target)
            shutil.rmtree(replaced)
        else:
            staged.rename(target)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def _folder(path: Path) -> Path:
    return (path / CURRENT if (path / CURRENT).exists() else path).resolve()


def read_manifest(folder: Path) -> Manifest:
    """Reads what a bundle says of itself; its other files are not looked at.

    Raises:
        BundleError: If the manifest is missing, of another format, truncated or altered.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(f"there is no bundle at {folder} ({MANIFEST} is missing): run `make run` to train one")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleError(f"{path} is not valid JSON ({error}): it was truncated or altered; publish again") from error
    found = fields.get("format") if isinstance(fields, dict) else None
    if found not in READABLE_FORMATS:
        newer = isinstance(found, int) and found > max(READABLE_FORMATS)
        remedy = "upgrade this software, or publish with this version" if newer else "publish again"
        readable = f"{min(READABLE_FORMATS)}-{max(READABLE_FORMATS)}"
        raise BundleError(f"bundle format {found} is not readable here ({readable}): {remedy}")
    try:
        manifest = Manifest(**fields)
    except TypeError as error:
        raise BundleError(f"{path} has missing or unknown fields ({error}): publish again") from error
    if manifest.checksums.get(MANIFEST) != _manifest_checksum(fields):
        raise BundleError(f"{path} does not match its own checksum: it was altered; copy or publish the bundle again")
    return manifest


def _manifest_checksum(fields: Mapping[str, Any]) -> str:
    """SHA-256 of the manifest's fields, its own checksum left out."""
    others = {name: checksum for name, checksum in fields["checksums"].items() if name != MANIFEST}
    return hashlib.sha256(json.dumps({**fields, "checksums": others}, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
