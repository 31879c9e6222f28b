"""The featurizer: computes the feature columns of items from their attributes.

Training fits the featurizer once. Items that are added after training get their features from the same featurizer. This
module does not need PyTorch.

Shapes: N items, E feature columns, W columns of one block.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import TypeAdapter

from rqrec.models.array_types import FloatArray

TEXT, COLLABORATIVE, IDENTITY = "text", "collaborative", "identity"
PRESENT = "_present"
SEPARATOR = ". "
MAX_FLOAT32 = float(np.finfo(np.float32).max)


class Source(StrEnum):
    """The source from which a block's feature columns are computed.

    LABELS: An attribute that is a string, a list of strings, or a number that names something, such as a category.
    FLAG: An attribute that is true or false.
    NUMBER: An attribute that is a number.
    VECTOR: An attribute that is a list of numbers.
    GIVEN: A vector that the caller computes, such as the embedding of a text.
    """

    LABELS = "labels"
    FLAG = "flag"
    NUMBER = "number"
    VECTOR = "vector"
    GIVEN = "given"


class Given(NamedTuple):
    """One vector for each of N items. Some items may lack a vector.

    Attributes:
        vectors_NW: The vectors, float, shape (N, W). The row of an item without a vector is not read.
        present_N: Whether each item has a vector, bool.
    """

    vectors_NW: NDArray[np.floating]
    present_N: NDArray[np.bool_]


@dataclass(frozen=True)
class FittedBlock:
    """Computes the feature columns of one attribute, with parameters that training has fitted.

    Attributes:
        name: The name of the attribute, or of the given vectors if the source is GIVEN.
        source: The source from which the columns are computed.
        weight: Weight of the block's loss, when the RQ-VAE reconstructs its columns.
        labels: The label of each column, such as "Drama", if the source is LABELS.
        mean_W: The mean in the training data, which is subtracted from a vector, or from a number if `knots` is empty.
        scale: The columns of a number or vector are divided by this at the end; not 0.
        knots: For a number: ascending values for which `scores` gives the value of the column. Between two knots it is
            interpolated linearly. Empty for other sources, and for bundles of format 9.
        scores: The column's value at each knot. A number outside the knots gets the score of the nearest knot.
        is_marked: Whether the block of a number or vector ends with one more column, which is 1 for an item with a
            value and 0 for an item without.
    """

    name: str
    source: Source
    weight: float = 1.0
    labels: tuple[str, ...] = ()
    mean_W: tuple[float, ...] = ()
    scale: float = 1.0
    knots: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    is_marked: bool = False

    @property
    def is_continuous(self) -> bool:
        """Whether the columns of the attribute's value hold continuous numbers, instead of zeros and ones."""
        return self.source not in (Source.LABELS, Source.FLAG)

    @property
    def width(self) -> int:
        """W, the number of columns of the attribute's value.

        If `is_marked`, the block has one column more, which tells whether an item has a value. It is not counted here.
        """
        return len(self.labels) or len(self.mean_W) or 1

    def columns(self, items: pl.DataFrame, given: Mapping[str, Given]) -> FloatArray:
        """Computes the block's feature columns for N items.

        Args:
            items: One row per item, with a column for the block's attribute.
            given: The vectors of the items by block name, for blocks of the source GIVEN. If a name is missing, no item
                has such a vector.

        Returns:
            Columns of shape (N, W), float32. If `is_marked`, the shape is (N, W + 1), and the last column tells
            whether each item has a value.
        """
        if self.source is Source.LABELS:
            return self._multi_hot(items[self.name])
        if self.source is Source.FLAG:
            return items[self.name].fill_null(value=False).to_numpy()[:, None].astype(np.float32)
        vectors_NW, present_N = self._vectors(items, given)
        columns_NW = np.zeros((len(items), self.width), dtype=np.float32)
        if self.knots:
            columns_NW[present_N] = np.interp(vectors_NW[present_N], self.knots, self.scores)
        else:
            columns_NW[present_N] = vectors_NW[present_N] - np.array(self.mean_W, dtype=vectors_NW.dtype)
        columns_NW /= np.float32(self.scale)
        return np.column_stack([columns_NW, present_N.astype(np.float32)]) if self.is_marked else columns_NW

    def _vectors(self, items: pl.DataFrame, given: Mapping[str, Given]) -> Given:
        if self.source is Source.NUMBER:
            return number_values(items[self.name])
        if self.source is Source.VECTOR:
            return vector_values(items[self.name])
        nothing = Given(np.zeros((len(items), self.width), np.float32), np.zeros(len(items), np.bool_))
        return given.get(self.name, nothing)

    def _multi_hot(self, column: pl.Series) -> FloatArray:
        vocabulary = pl.DataFrame({"label": self.labels, "column": np.arange(len(self.labels))})
        marks = label_marks(column).join(vocabulary, on="label")
        hot = np.zeros((len(column), len(self.labels)), dtype=np.float32)
        hot[marks["row"].to_numpy(), marks["column"].to_numpy()] = 1
        return hot


@dataclass(frozen=True)
class Featurizer:
    """Computes the feature matrix of items from their attributes. The columns of all blocks are side by side.

    Attributes:
        blocks: The blocks in the order of their columns.
        text_attributes: The names of the attributes of which an item's text consists, in this order. The columns of the
            text's embedding are the block named "text".
    """

    blocks: tuple[FittedBlock, ...]
    text_attributes: tuple[str, ...]

    @property
    def width(self) -> int:
        """E, the number of feature columns."""
        return sum(block.width + block.is_marked for block in self.blocks)

    @property
    def of_content_E(self) -> NDArray[np.bool_]:
        """For each of E columns, whether new items have values in it, bool.

        New items have no values in two blocks: COLLABORATIVE, which comes from users' choices in the training data, and
        IDENTITY, random columns by which training tells items of equal features apart.
        """
        of_known_items = (self.given_block(COLLABORATIVE), self.given_block(IDENTITY))
        widths = [(block not in of_known_items, block.width + block.is_marked) for block in self.blocks]
        return np.repeat(*map(np.array, zip(*widths, strict=True)))

    def given_block(self, name: str) -> FittedBlock | None:
        """Returns the block that has this name and the source GIVEN, such as "text"; None if there is no such block."""
        return next((block for block in self.blocks if (block.name, block.source) == (name, Source.GIVEN)), None)

    def transform(self, items: pl.DataFrame, given: Mapping[str, Given]) -> FloatArray:
        """Computes the features of items.

        Args:
            items: One row per item, with a column for each attribute that a block reads; nulls are allowed.
            given: The vectors of the items by block name, for blocks of the source GIVEN. If a name is missing, no item
                has such a vector.

        Returns:
            Features of shape (N, E), float32, for N items and E feature columns.
        """
        nothing_N0 = np.zeros((len(items), 0), dtype=np.float32)
        return np.concatenate([nothing_N0, *(block.columns(items, given) for block in self.blocks)], axis=1)

    def texts(self, items: pl.DataFrame) -> list[str]:
        """Returns the text of each item, joined from `text_attributes`; an empty string if all of these are missing."""
        return texts_of(items, self.text_attributes)

    def to_json(self) -> str:
        """Returns the featurizer as JSON text, which `from_json` reads."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Featurizer":
        """Makes a featurizer from the JSON text that `to_json` wrote, and checks it.

        Args:
            text: The JSON text.

        Raises:
            ValueError: If the text is not such JSON, or a number in it is out of range.
        """
        featurizer = TypeAdapter(cls).validate_json(text, strict=True)
        numbers = [number for block in featurizer.blocks for number in (block.weight, block.scale, *block.mean_W)]
        has_scales = all(block.scale for block in featurizer.blocks)
        if not featurizer.blocks or not has_scales or not all(abs(number) <= MAX_FLOAT32 for number in numbers):
            raise ValueError("a featurizer needs at least one block, float32 numbers, and scales that are not 0")
        for block in featurizer.blocks:
            knots_K, scores_K = np.array(block.knots), np.array(block.scores)
            are_numbers = np.isfinite(knots_K).all() and (np.abs(scores_K) <= MAX_FLOAT32).all()
            if len(knots_K) != len(scores_K) or not are_numbers or (knots_K[1:] <= knots_K[:-1]).any():
                raise ValueError(f"the knots of {block.name!r} must rise, and each must have a score")
        return featurizer


def number_values(column: pl.Series) -> Given:
    """Reads a column as vectors of shape (N, 1). A value that is not a finite number counts as missing."""
    numbers_N = column.cast(pl.Float64, strict=False).to_numpy()
    present_N = np.isfinite(numbers_N)
    return Given(np.where(present_N, numbers_N, 0.0)[:, None], np.asarray(present_N))


def vector_values(column: pl.Series) -> Given:
    """Reads the vectors of a column of the type `polars.Array`, as float32. A null counts as missing."""
    assert isinstance(column.dtype, pl.Array)
    present_N = column.is_not_null().to_numpy()
    vectors_NW = np.zeros((len(column), *column.dtype.shape), dtype=np.float32)
    vectors_NW[present_N] = column.drop_nulls().to_numpy()
    return Given(vectors_NW, present_N)


def as_written(column: pl.Series) -> pl.Series:
    """Converts a column of numbers to strings. A column of another type is returned unchanged.

    A whole number is written without a decimal point, also in a column of floats: 3.0 becomes "3". In a column of
    floats, NaN and infinity become null.
    """
    if not column.dtype.is_numeric():
        return column
    values = column.alias("values")  # a plain name, because polars reads names such as "*" as patterns
    number = pl.col("values")
    texts = number.cast(pl.String)
    if column.dtype.is_float():
        whole = number.cast(pl.Int64, strict=False)
        texts = pl.when(number.is_finite()).then(pl.when(number == whole).then(whole.cast(pl.String)).otherwise(texts))
    return values.to_frame().select(texts).to_series().alias(column.name)


def label_marks(column: pl.Series) -> pl.DataFrame:
    """Lists the labels of each row of a column.

    Args:
        column: Strings, lists of strings, or numbers, which are read as strings; nulls are allowed.

    Returns:
        A table with the columns `row` (number of the row) and `label`: one entry for each label of a row, without
        duplicates.
    """
    marks = pl.DataFrame({"row": pl.int_range(len(column), eager=True), "label": as_written(column)})
    if isinstance(column.dtype, pl.List):
        marks = marks.explode("label")
    return marks.drop_nulls().unique()


def texts_of(items: pl.DataFrame, attributes: Sequence[str]) -> list[str]:
    """Joins the attributes of each item to one text, such as "Title: Heat. Genres: Crime, Drama".

    Args:
        items: One row per item.
        attributes: The names of the columns to join, in this order. They hold strings, lists of strings or numbers.

    Returns:
        One text per item; an empty string for an item in which all these attributes are missing.
    """
    if not attributes:
        return [""] * len(items)
    named = []
    for name in attributes:
        # The column, not its name: polars reads names such as "*" as patterns.
        column = items[name].list.join(", ") if isinstance(items.schema[name], pl.List) else as_written(items[name])
        label = f"{name.replace('_', ' ').capitalize()}: "
        # An empty or null attribute has no label either.
        named.append(label + column.replace("", None))
    return pl.select(pl.concat_str(named, separator=SEPARATOR, ignore_nulls=True)).to_series().to_list()
