"""Item features: genres and other labels, numbers, vectors such as posters, text, and who was watched with whom.

Shapes: N items, E feature columns, W columns of one block.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from models.rqvae import FeatureBlock, FeatureKind
from training.collaborative import cooccurrence_vectors
from training.config import configurable
from training.data.dataset import ITEM_ID, Dataset
from training.data.prepare import load_prepared, prepare_data
from training.data.splits import leave_one_out, user_sequences
from training.text import encode_texts
from training.workspace import Stage, Workspace

FloatArray = NDArray[np.float32]
FREE_TEXT_DISTINCT_SHARE = 0.5  # a string column with more distinct values than this share of its rows is text
FEATURES, LAYOUT = "features.safetensors", "features.json"


@configurable
@dataclass(frozen=True)
class FeatureSettings:
    """How items become features.

    Attributes:
        text_encoder: See `training.text.encode_texts`.
        lsa_dim: Columns of the text block under "lsa".
        collaborative_dim: Columns of the co-occurrence block; 0 leaves it out.
        min_label_count: A label on fewer items than this gets no column.
        max_labels: Columns a label attribute gets at the most, the commonest first.
        label_weight: Weight of multi-hot blocks: of their variance where the RQ-VAE starts, and of their loss.
        text_weight: Weight of the text block.
        vector_weight: Weight of vector blocks.
        number_weight: Weight of numbers.
        collaborative_weight: Weight of the co-occurrence block.
        seed: Of the matrix factorisations.
    """

    text_encoder: str = "sentence-transformers/all-MiniLM-L6-v2"
    lsa_dim: int = 64
    collaborative_dim: int = 64
    min_label_count: int = 5
    max_labels: int = 512
    label_weight: float = 0.1
    text_weight: float = 1.0
    vector_weight: float = 1.0
    number_weight: float = 1.0
    collaborative_weight: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class Features:
    """features_NE, float32, one row an item_index, and the blocks that its columns form."""

    features_NE: FloatArray
    blocks: tuple[FeatureBlock, ...]


def make_features(workspace: Workspace) -> Stage:
    """Runs the stage: the prepared data's items to features, saved."""
    data = prepare_data(workspace)
    settings = FeatureSettings()

    def write(directory: Path) -> None:
        features = item_features(load_prepared(data), settings)
        save_file({"features_NE": features.features_NE}, directory / FEATURES)
        layout = [asdict(block) for block in features.blocks]
        (directory / LAYOUT).write_text(json.dumps(layout, indent=2), encoding="utf-8")

    return workspace.run("features", inputs=[data], settings=settings, write=write)


def load_features(stage: Stage) -> Features:
    """Reads what `make_features` saved."""
    layout = json.loads((stage.path / LAYOUT).read_text(encoding="utf-8"))
    blocks = tuple(FeatureBlock(**{**block, "kind": FeatureKind(block["kind"])}) for block in layout)
    return Features(load_file(stage.path / FEATURES)["features_NE"], blocks)


def item_features(dataset: Dataset, settings: FeatureSettings) -> Features:
    """Turns every attribute of the items into feature columns by its type, and adds text and co-occurrence.

    Lists of strings, and strings with few distinct values, become multi-hot labels. Numbers are standardised.
    Vectors and text embeddings are centred and scaled to unit variance as a whole. Where a value is missing, labels
    are all zero, and numbers and vectors stand at their mean with a `<name>_present` label of 0. All strings of an
    item together are its text. Only training interactions enter the co-occurrence.

    Raises:
        ValueError: If the items have no usable attribute.
    """
    parts: list[tuple[FeatureBlock, FloatArray]] = []
    for name in dataset.items.columns:
        if name != ITEM_ID:
            parts += _attribute_blocks(dataset.items[name], settings)
    texts = _texts(dataset.items)
    if any(texts):
        vectors = encode_texts(texts, encoder=settings.text_encoder, lsa_dim=settings.lsa_dim, seed=settings.seed)
        parts.append(_continuous("text", vectors, settings.text_weight))
    if settings.collaborative_dim:
        train = leave_one_out(user_sequences(dataset)).train
        vectors = cooccurrence_vectors(train, len(dataset.items), dim=settings.collaborative_dim, seed=settings.seed)
        parts += _with_presence(
            "collaborative", vectors, np.asarray(vectors.any(axis=1)), settings.collaborative_weight
        )
    if not parts:
        raise ValueError("the items have no usable attribute: add labels, numbers, text or vectors to the items table")
    features_NE = np.concatenate([columns for _, columns in parts], axis=1)
    return Features(features_NE, tuple(block for block, _ in parts))


def _attribute_blocks(column: pl.Series, settings: FeatureSettings) -> list[tuple[FeatureBlock, FloatArray]]:
    dtype = column.dtype
    if isinstance(dtype, pl.Array):
        present = column.is_not_null().to_numpy()
        vectors = np.zeros((len(column), dtype.shape[0]), dtype=np.float32)
        vectors[present] = column.drop_nulls().to_numpy()
        return _with_presence(column.name, vectors, present, settings.vector_weight)
    if dtype == pl.Boolean:
        return [_labels(column.name, column.fill_null(False).to_numpy()[:, None], settings)]
    if dtype.is_numeric():
        numbers = column.cast(pl.Float64).to_numpy()
        present = np.asarray(np.isfinite(numbers))
        values = np.where(present, numbers, 0.0)[:, None]
        return _with_presence(column.name, values, present, settings.number_weight)
    if dtype == pl.List(pl.String) or (dtype == pl.String and not _is_free_text(column)):
        return _multi_hot(column, settings)
    return []


def _is_free_text(column: pl.Series) -> bool:
    return column.drop_nulls().n_unique() > FREE_TEXT_DISTINCT_SHARE * len(column)


def _is_id(column: pl.Series) -> bool:
    """Whether the values are names for machines: all distinct, and of one word each."""
    values = column.drop_nulls()
    return column.name == ITEM_ID or (values.is_unique().all() and not values.str.contains(r"\s").any())


def _multi_hot(column: pl.Series, settings: FeatureSettings) -> list[tuple[FeatureBlock, FloatArray]]:
    labels = pl.DataFrame({"row": pl.int_range(len(column), eager=True), "label": column})
    if isinstance(column.dtype, pl.List):
        labels = labels.explode("label")
    labels = labels.drop_nulls().unique()
    vocabulary = (
        labels.group_by("label").len().filter(pl.col("len") >= settings.min_label_count)
        .sort("len", "label", descending=[True, False]).head(settings.max_labels).with_row_index("column")
    )  # fmt: skip
    if vocabulary.is_empty():
        return []
    marks = labels.join(vocabulary, on="label")
    hot = np.zeros((len(column), len(vocabulary)), dtype=np.float32)
    hot[marks["row"].to_numpy(), marks["column"].to_numpy()] = 1
    return [_labels(column.name, hot, settings)]


def _labels(name: str, hot: NDArray[np.generic], settings: FeatureSettings) -> tuple[FeatureBlock, FloatArray]:
    block = FeatureBlock(name, FeatureKind.MULTI_HOT, hot.shape[1], settings.label_weight)
    return block, hot.astype(np.float32)


def _with_presence(
    name: str, vectors: NDArray[np.floating], present: NDArray[np.bool_], weight: float
) -> list[tuple[FeatureBlock, FloatArray]]:
    """A continuous block over the rows that are present; where some are not, a label that says which are."""
    parts = [_continuous(name, vectors, weight, present)] if present.any() else []
    if present.any() and not present.all():
        parts.append((FeatureBlock(f"{name}_present", FeatureKind.MULTI_HOT, 1), present[:, None].astype(np.float32)))
    return parts


def _continuous(
    name: str, vectors: NDArray[np.floating], weight: float, present: NDArray[np.bool_] | None = None
) -> tuple[FeatureBlock, FloatArray]:
    """Centres every column and scales the block as a whole, so that its strong directions stay the strong ones."""
    rows = slice(None) if present is None else present
    centred = np.zeros(vectors.shape, dtype=np.float32)
    centred[rows] = vectors[rows] - vectors[rows].mean(axis=0)
    scale = float(centred[rows].std())
    block = FeatureBlock(name, FeatureKind.CONTINUOUS, vectors.shape[1], weight)
    return block, centred / np.float32(scale or 1.0)


def _texts(items: pl.DataFrame) -> list[str]:
    """Every item's strings as one text such as "Title: Heat. Genres: Crime, Drama"; empty where it has none."""
    values = {
        name: pl.col(name) for name, dtype in items.schema.items() if dtype == pl.String and not _is_id(items[name])
    }
    values |= {
        name: pl.col(name).list.join(", ") for name, dtype in items.schema.items() if dtype == pl.List(pl.String)
    }
    if not values:
        return []
    # What is empty or null has no label either.
    named = [
        pl.when(value.str.len_chars() > 0).then(pl.format(f"{name.replace('_', ' ').capitalize()}: {{}}", value))
        for name, value in values.items()
    ]
    return items.select(pl.concat_str(named, separator=". ", ignore_nulls=True)).to_series().to_list()
