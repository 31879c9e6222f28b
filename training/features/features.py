"""Stage: turns the attributes, text and co-occurrence of items into feature columns of numbers.

Shapes: N items, E feature columns, W columns of one block.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass as settings_dataclass
from safetensors import safe_open
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
from rqrec.training.data.dataset import Dataset
from rqrec.training.data.prepare import load_columns, load_prepared, load_split
from rqrec.training.data.splits import Sequences, user_sequences
from rqrec.training.data.splitting.leave_one_out import leave_one_out
from rqrec.training.features.collaborative import cooccurrence_vectors
from rqrec.training.features.column_table import columns_of_items, columns_table
from rqrec.training.features.column_use import ColumnUse, Use, decide_uses
from rqrec.training.features.identity import identity_vectors
from rqrec.training.features.numbers import fit_number, number_shares
from rqrec.training.features.text import encode_texts
from rqrec.training.runtime.parts import Parts, RunTasks, run_here
from rqrec.training.runtime.progress import progress
from rqrec.training.runtime.workspace import Stage, Workspace

MARK_SHARE = 0.1  # weight of the mark of a number, as a share of the number's weight
CONSTANT = 1e-6  # a block is constant if its standard deviation is at most this share of its mean
# Weight of the block that tells equal items apart, to be multiplied by the share of these items. It is small, so that
# attributes decide the first codes. A tenth of it was too little for a log whose items are mostly beside nothing.
IDENTITY_WEIGHT = 0.1
FEATURES, FEATURIZER, TABLE = "features.safetensors", "featurizer.json", "columns.txt"
CODE_VERSION = 4  # 4: ids, addresses and constants are left out; numbers are scored by rank and share one weight
logger = logging.getLogger("rqrec")


@settings_dataclass(frozen=True)
class FeatureSettings:
    """Settings of the item features: how columns are used, and how much each block of features weighs.

    A block is the feature columns of one attribute, of the text, or of co-occurrence. Its weight acts twice in the
    RQ-VAE: it is the weight of the block's reconstruction loss, and the variance to which the block is scaled before
    the RQ-VAE's initial weights are computed.

    Attributes:
        use: How columns are used, if their values should not decide: "labels", "number", "text", "vector" or "ignore",
            such as {"year": "labels"}. The service still returns an ignored column and can filter by it.
        text_encoder: Name of the text encoder; see `training.features.text.encode_texts`.
        lsa_dim: Largest number of columns of the text block, if the text encoder is "lsa".
        collaborative_dim: Largest number of columns of the co-occurrence block; 0 for no such block.
        min_label_count: A label becomes a feature column if at least this many items have it.
        max_labels: Largest number of label columns of one attribute; the most common labels become columns.
        label_weight: Weight of each block of labels.
        text_weight: Weight of the text block.
        vector_weight: Weight of each block of a vector attribute.
        number_weight: Weight of all number attributes together. It is never more than that of labels, text and vectors
            together, unless there are only numbers.
        collaborative_weight: Weight of the co-occurrence block.
        seed: Seed of the matrix factorisations (SVD), and of the random vectors for items with equal features.
    """

    use: dict[str, Use] = field(default_factory=dict)
    text_encoder: str = "sentence-transformers/all-MiniLM-L6-v2"
    lsa_dim: PositiveInt = 64
    collaborative_dim: NonNegativeInt = 64
    min_label_count: NonNegativeInt = 5
    max_labels: NonNegativeInt = 512
    label_weight: NonNegativeFloat = 0.1
    text_weight: NonNegativeFloat = 1.0
    vector_weight: NonNegativeFloat = 1.0
    number_weight: NonNegativeFloat = 0.25
    collaborative_weight: NonNegativeFloat = 0.5
    seed: NonNegativeInt = 0


@dataclass(frozen=True)
class Features:
    """The features of all items, and the featurizer: the fitted functions that compute features from attributes.

    Attributes:
        features_NE: Item features by item_index, float32, shape (N, E).
        featurizer: Computes the same feature columns for other items, such as new ones.
    """

    features_NE: FloatArray
    featurizer: Featurizer

    @property
    def without_identity_NE(self) -> FloatArray:
        """The array `features_NE` without its random columns, which tell apart items whose other columns are equal.

        If there are no random columns, this is `features_NE`. `training.features.identity.identity_vectors` draws them.
        """
        identity = self.featurizer.given_block(IDENTITY)
        return self.features_NE if identity is None else self.features_NE[:, : -identity.width]

    @property
    def blocks(self) -> tuple[FeatureBlock, ...]:
        """The blocks of adjacent columns that make up `features_NE`, for the reconstruction loss of the RQ-VAE.

        A block is the columns of one attribute, of the text, of co-occurrence, or of the random vectors that tell apart
        items with equal features. A column `<name>_present`, which is 1 for items with a value in the block `<name>`,
        is a block of its own.
        """
        layout = []
        for block in self.featurizer.blocks:
            kind = FeatureKind.CONTINUOUS if block.is_continuous else FeatureKind.MULTI_HOT
            layout.append(FeatureBlock(block.name, kind, block.width, block.weight))
            if block.is_marked:
                weight = MARK_SHARE * block.weight if block.source is Source.NUMBER else 1.0
                layout.append(FeatureBlock(block.name + PRESENT, FeatureKind.MULTI_HOT, 1, weight))
        return tuple(layout)


def make_features(
    workspace: Workspace, data: Stage, settings: FeatureSettings, *, run_tasks: RunTasks = run_here
) -> Stage:
    """Runs the stage "features": computes the features of all items, and stores them in the workspace.

    Args:
        workspace: The folder that stores the results of all stages.
        data: The result of `prepare_data`: the checked data and its split.
        settings: How attributes become features.
        run_tasks: Runs the text encoder on parts of the texts. An interrupted stage leaves the finished parts.

    Returns:
        The finished stage. Its result is in the folder `Stage.path`; `load_features` reads it.
    """

    def write(directory: Path, parts: Path) -> None:
        dataset = load_prepared(data)
        uses = decide_uses(dataset.items, settings.use, min_label_count=settings.min_label_count)
        table = columns_table([*load_columns(data), *columns_of_items(dataset.items, uses)])
        (directory / TABLE).write_text(table, encoding="utf-8")
        logger.info("the columns and their use:\n%s", table)
        features = item_features(dataset, settings, load_split(data).train, Parts(parts, run_tasks))
        save_file({"features_NE": features.features_NE}, directory / FEATURES)
        (directory / FEATURIZER).write_text(features.featurizer.to_json(), encoding="utf-8")

    return workspace.run_in_parts("features", inputs=[data], settings=settings, write=write, version=CODE_VERSION)


def load_features(stage: Stage) -> Features:
    """Reads the features that `make_features` saved."""
    featurizer = Featurizer.from_json((stage.path / FEATURIZER).read_text(encoding="utf-8"))
    return Features(load_file(stage.path / FEATURES)["features_NE"], featurizer)


def feature_rows(stage: Stage, rows: range) -> FloatArray:
    """Reads the features of some adjacent items from the result of `make_features`.

    Args:
        stage: The result of `make_features`.
        rows: The item_index of each of the items.

    Returns:
        Their features, float32, shape (len(rows), E).
    """
    with safe_open(stage.path / FEATURES, framework="np") as opened:
        return np.asarray(opened.get_slice("features_NE")[rows.start : rows.stop])


def item_features(
    dataset: Dataset, settings: FeatureSettings, train: Sequences | None = None, parts: Parts | None = None
) -> Features:
    """Computes the features of all items in a data set. `decide_uses` decides how each attribute is used.

    Labels become multi-hot columns. A number is scored by its rank. Vectors and text embeddings are centred, and each
    block of them is scaled to unit variance. For a missing value, labels are all 0, and numbers and vectors are at
    their mean. If a number or vector is missing for any item, the column `<name>_present` says which items have one. An
    item's text joins all its attributes that are words. Co-occurrence is computed from training interactions only. If
    many items have equal features, random vectors tell them apart; see `identity_vectors`.

    Args:
        dataset: The items and interactions.
        settings: How attributes become features.
        train: The training sequences, for co-occurrence; None to take those of a leave-one-out split.
        parts: Where the vectors of texts are kept until the stage ends, and what computes them; see `encode_texts`.
    """
    items, given = dataset.items, dict[str, Given]()
    uses = decide_uses(items, settings.use, min_label_count=settings.min_label_count)
    fitted = [_fit_column(items[use.name], use.use, settings) for use in uses]
    text_attributes = _text_attributes(items, uses)
    texts = texts_of(items, text_attributes)
    has_text_N = np.array([bool(text) for text in texts], dtype=np.bool_)
    if has_text_N.any():
        vectors = encode_texts(
            texts, encoder=settings.text_encoder, lsa_dim=settings.lsa_dim, seed=settings.seed, parts=parts
        )
        given[TEXT] = Given(vectors, has_text_N)
        fitted.append(_fit_continuous(TEXT, Source.GIVEN, given[TEXT], settings.text_weight))
    blocks = _with_number_weights([block for block in fitted if block is not None], items, settings.number_weight)
    if settings.collaborative_dim:
        train = leave_one_out(user_sequences(dataset)).train if train is None else train
        with progress("co-occurrence of items"):
            vectors = cooccurrence_vectors(train, len(items), dim=settings.collaborative_dim, seed=settings.seed)
        given[COLLABORATIVE] = Given(vectors, np.asarray(vectors.any(axis=1)))
        beside = _fit_continuous(COLLABORATIVE, Source.GIVEN, given[COLLABORATIVE], settings.collaborative_weight)
        blocks += [] if beside is None else [beside]
    features_NE = Featurizer(tuple(blocks), text_attributes).transform(items, given)
    identity = identity_vectors(features_NE, seed=settings.seed)
    if identity is not None:
        given[IDENTITY] = identity
        share_of_equal = float(identity.vectors_NW.any(axis=1).mean())
        block = _fit_continuous(IDENTITY, Source.GIVEN, identity, IDENTITY_WEIGHT * share_of_equal)
        assert block is not None
        blocks.append(block)
    featurizer = Featurizer(tuple(blocks), text_attributes)
    return Features(featurizer.transform(items, given), featurizer)


def _fit_column(column: pl.Series, use: Use, settings: FeatureSettings) -> FittedBlock | None:
    if use is Use.VECTOR:
        return _fit_continuous(column.name, Source.VECTOR, vector_values(column), settings.vector_weight)
    if use is Use.NUMBER:
        return fit_number(column.name, number_values(column))
    if use is Use.LABELS and column.dtype == pl.Boolean:
        return FittedBlock(column.name, Source.FLAG, settings.label_weight)
    return _fit_labels(column, settings) if use is Use.LABELS else None


def _text_attributes(items: pl.DataFrame, uses: Sequence[ColumnUse]) -> tuple[str, ...]:
    """Returns the names of the columns with words: those of strings, then those of string lists."""
    names = [use.name for use in uses if use.in_text]
    lists = [name for name in names if isinstance(items.schema[name], pl.List)]
    return (*(name for name in names if name not in lists), *lists)


def _with_number_weights(blocks: list[FittedBlock], items: pl.DataFrame, most: float) -> list[FittedBlock]:
    """Gives the numbers their weights: together `most`, but not more than the other blocks together.

    Args:
        blocks: The blocks of the attributes and the text.
        items: One row per item.
        most: The weight of all numbers together.
    """
    numbers = [block for block in blocks if block.source is Source.NUMBER]
    if not numbers:
        return blocks
    others = sum(block.weight for block in blocks if block.source is not Source.NUMBER)
    shares = number_shares([block.columns(items, {})[:, 0] for block in numbers])
    weights = dict(zip(numbers, (min(most, others or most) * shares).tolist(), strict=True))
    return [replace(block, weight=weights.get(block, block.weight)) for block in blocks]


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
