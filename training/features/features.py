"""Stage: fits how attributes become feature columns: labels, numbers, vectors, text and co-occurrence.

Shapes: N items, E feature columns, W columns of one block.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass as settings_dataclass
from safetensors.numpy import load_file, save_file

from rqrec.models.array_types import FloatArray
from rqrec.models.tokenizer.config import FeatureBlock, FeatureKind
from rqrec.models.tokenizer.featurizer import (
    COLLABORATIVE,
    IDENTITY,
    PRESENT,
    TEXT,
    Featurizer,
    FittedBlock,
    Given,
    Source,
    label_marks,
    number_values,
    texts_of,
    vector_values,
)
from rqrec.training.data.dataset import ITEM_ID, Dataset
from rqrec.training.data.prepare import load_prepared
from rqrec.training.data.splits import leave_one_out, user_sequences
from rqrec.training.features.collaborative import cooccurrence_vectors
from rqrec.training.features.identity import identity_vectors
from rqrec.training.features.text import encode_texts
from rqrec.training.runtime.workspace import Stage, Workspace

FREE_TEXT_DISTINCT_SHARE = 0.5  # share of distinct values above which a string column is text
CONSTANT = 1e-6  # a block is constant if its standard deviation is at most this share of its mean
IDENTITY_WEIGHT = 0.01  # of the block that tells equal items apart; small, so that attributes decide the first codes
FEATURES, FEATURIZER = "features.safetensors", "featurizer.json"
CODE_VERSION = 3  # 3: random vectors tell many equal items apart, and the rounding of a constant is not scaled up


@settings_dataclass(frozen=True)
class FeatureSettings:
    """How attributes become features.

    Attributes:
        text_encoder: Name of the text encoder; see `training.features.text.encode_texts`.
        lsa_dim: Columns of the text block with the encoder "lsa".
        collaborative_dim: Columns of the co-occurrence block; 0 for no such block.
        min_label_count: Smallest number of items with a label for which the label gets a column.
        max_labels: Largest number of columns of a label attribute. The most common labels get them.
        label_weight: Weight of a multi-hot block: of its variance at the start of the RQ-VAE, and of its loss.
        text_weight: Weight of the text block.
        vector_weight: Weight of vector blocks.
        number_weight: Weight of numbers.
        collaborative_weight: Weight of the co-occurrence block.
        seed: Seed of the matrix factorisations.
    """

    text_encoder: str = "sentence-transformers/all-MiniLM-L6-v2"
    lsa_dim: PositiveInt = 64
    collaborative_dim: NonNegativeInt = 64
    min_label_count: NonNegativeInt = 5
    max_labels: NonNegativeInt = 512
    label_weight: NonNegativeFloat = 0.1
    text_weight: NonNegativeFloat = 1.0
    vector_weight: NonNegativeFloat = 1.0
    number_weight: NonNegativeFloat = 1.0
    collaborative_weight: NonNegativeFloat = 0.5
    seed: NonNegativeInt = 0


@dataclass(frozen=True)
class Features:
    """The features of all items.

    Attributes:
        features_NE: Features by item_index, float32.
        featurizer: Turns the attributes of further items into the same columns.
    """

    features_NE: FloatArray
    featurizer: Featurizer

    @property
    def without_identity_NE(self) -> FloatArray:
        """The features without the random columns that tell equal items apart; see `identity_vectors`."""
        identity = self.featurizer.given_block(IDENTITY)
        return self.features_NE if identity is None else self.features_NE[:, : -identity.width]

    @property
    def blocks(self) -> tuple[FeatureBlock, ...]:
        """The blocks as the RQ-VAE reconstructs them: each block's columns, and its `_present` column if it has one."""
        layout = []
        for block in self.featurizer.blocks:
            kind = FeatureKind.CONTINUOUS if block.is_continuous else FeatureKind.MULTI_HOT
            layout.append(FeatureBlock(block.name, kind, block.width, block.weight))
            if block.is_marked:
                layout.append(FeatureBlock(block.name + PRESENT, FeatureKind.MULTI_HOT, 1))
        return tuple(layout)


def make_features(workspace: Workspace, data: Stage, settings: FeatureSettings) -> Stage:
    """Runs the stage.

    Args:
        workspace: The folder of the run.
        data: The prepared data.
        settings: How attributes become features.
    """

    def write(directory: Path) -> None:
        features = item_features(load_prepared(data), settings)
        save_file({"features_NE": features.features_NE}, directory / FEATURES)
        (directory / FEATURIZER).write_text(features.featurizer.to_json(), encoding="utf-8")

    return workspace.run("features", inputs=[data], settings=settings, write=write, version=CODE_VERSION)


def load_features(stage: Stage) -> Features:
    """Reads the features that `make_features` saved."""
    featurizer = Featurizer.from_json((stage.path / FEATURIZER).read_text(encoding="utf-8"))
    return Features(load_file(stage.path / FEATURES)["features_NE"], featurizer)


def item_features(dataset: Dataset, settings: FeatureSettings) -> Features:
    """Fits and computes the features of a data set's items. The type of an attribute decides its columns.

    Lists of strings, and strings with few distinct values, become multi-hot labels. Numbers are standardised. Vectors
    and text embeddings are centred, and scaled to unit variance as a whole. For a missing value, labels are all 0,
    numbers and vectors are at their mean, and the label `<name>_present` is 0. The text of an item is all its strings
    together. The co-occurrence is computed from training interactions only. Many items that are equal in all of this
    are told apart by random vectors; see `identity_vectors`.

    Args:
        dataset: The items and interactions.
        settings: How attributes become features.
    """
    items, given, fitted = dataset.items, dict[str, Given](), list[FittedBlock | None]()
    for name in items.columns:
        if name != ITEM_ID:
            fitted.append(_fit_attribute(items[name], settings))
    text_attributes = _text_attributes(items)
    texts = texts_of(items, text_attributes)
    has_text_N = np.array([bool(text) for text in texts], dtype=np.bool_)
    if has_text_N.any():
        vectors = encode_texts(texts, encoder=settings.text_encoder, lsa_dim=settings.lsa_dim, seed=settings.seed)
        given[TEXT] = Given(vectors, has_text_N)
        fitted.append(_fit_continuous(TEXT, Source.GIVEN, given[TEXT], settings.text_weight))
    if settings.collaborative_dim:
        train = leave_one_out(user_sequences(dataset)).train
        vectors = cooccurrence_vectors(train, len(items), dim=settings.collaborative_dim, seed=settings.seed)
        given[COLLABORATIVE] = Given(vectors, np.asarray(vectors.any(axis=1)))
        fitted.append(_fit_continuous(COLLABORATIVE, Source.GIVEN, given[COLLABORATIVE], settings.collaborative_weight))
    blocks = tuple(block for block in fitted if block is not None)
    features_NE = Featurizer(blocks, text_attributes).transform(items, given)
    identity = identity_vectors(features_NE, seed=settings.seed)
    if identity is not None:
        given[IDENTITY] = identity
        block = _fit_continuous(IDENTITY, Source.GIVEN, identity, IDENTITY_WEIGHT)
        assert block is not None
        blocks = (*blocks, block)
    featurizer = Featurizer(blocks, text_attributes)
    return Features(featurizer.transform(items, given), featurizer)


def _fit_attribute(column: pl.Series, settings: FeatureSettings) -> FittedBlock | None:
    dtype = column.dtype
    if isinstance(dtype, pl.Array):
        return _fit_continuous(column.name, Source.VECTOR, vector_values(column), settings.vector_weight)
    if dtype == pl.Boolean:
        return FittedBlock(column.name, Source.FLAG, settings.label_weight)
    if dtype.is_numeric():
        return _fit_continuous(column.name, Source.NUMBER, number_values(column), settings.number_weight)
    if dtype == pl.List(pl.String) or (dtype == pl.String and not _is_free_text(column)):
        return _fit_labels(column, settings)
    return None


def _is_free_text(column: pl.Series) -> bool:
    return column.drop_nulls().n_unique() > FREE_TEXT_DISTINCT_SHARE * len(column)


def _is_id(column: pl.Series) -> bool:
    """Returns whether the values are identifiers: all distinct, and each a single word."""
    values = column.drop_nulls()
    return column.name == ITEM_ID or (values.is_unique().all() and not values.str.contains(r"\s").any())


def _text_attributes(items: pl.DataFrame) -> tuple[str, ...]:
    """Returns the names of the string columns, then of the columns of string lists."""
    strings = [name for name, dtype in items.schema.items() if dtype == pl.String and not _is_id(items[name])]
    return (*strings, *(name for name, dtype in items.schema.items() if dtype == pl.List(pl.String)))


def _fit_labels(column: pl.Series, settings: FeatureSettings) -> FittedBlock | None:
    counts = label_marks(column).group_by("label").len().filter(pl.col("len") >= settings.min_label_count)
    labels = counts.sort("len", "label", descending=[True, False]).head(settings.max_labels)["label"].to_list()
    return FittedBlock(column.name, Source.LABELS, settings.label_weight, labels=tuple(labels)) if labels else None


def _fit_continuous(name: str, source: Source, values: Given, weight: float) -> FittedBlock | None:
    """Centres every column, and scales the block as a whole, so that large variances stay larger than small ones."""
    vectors_NW, present_N = values.vectors_NW[values.present_N], values.present_N
    if not len(vectors_NW):
        return None
    mean_W = vectors_NW.mean(axis=0)
    scale = float((vectors_NW - mean_W).astype(np.float32).std())
    if scale <= CONSTANT * float(np.abs(mean_W).max(initial=0)):  # the columns vary by rounding only
        scale = 1.0
    marked = not bool(present_N.all())
    return FittedBlock(name, source, weight, mean_W=tuple(map(float, mean_W)), scale=scale, is_marked=marked)
