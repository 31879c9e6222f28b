"""From an item's attributes to its feature columns, as training fitted it: the same for an item written years later.

Needs no torch.

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

TEXT, COLLABORATIVE = "text", "collaborative"
PRESENT = "_present"
SEPARATOR = ". "
MAX_FLOAT32 = float(np.finfo(np.float32).max)


class Source(StrEnum):
    """Where a block's columns come from."""

    LABELS = "labels"  # a string, or a list of them
    FLAG = "flag"  # true or false
    NUMBER = "number"
    VECTOR = "vector"  # an attribute that is a list of numbers
    GIVEN = "given"  # a vector that the caller works out, such as of text


class Given(NamedTuple):
    """Vectors that are no attribute, and which items have one."""

    vectors_NW: NDArray[np.floating]
    present_N: NDArray[np.bool_]


@dataclass(frozen=True)
class FittedBlock:
    """How one attribute becomes columns.

    Attributes:
        name: The attribute's, or that of a given vector.
        source: What it is read from.
        weight: Of the block's reconstruction loss.
        labels: The label of each column, where the source is LABELS.
        mean_W: What is taken off each column of a number or vector.
        scale: What the rest is then divided by.
        is_marked: Whether a last column says which items have a value.
    """

    name: str
    source: Source
    weight: float = 1.0
    labels: tuple[str, ...] = ()
    mean_W: tuple[float, ...] = ()
    scale: float = 1.0
    is_marked: bool = False

    @property
    def is_continuous(self) -> bool:
        """Whether its columns are numbers rather than labels; the mark is a label in any case."""
        return self.source not in (Source.LABELS, Source.FLAG)

    @property
    def width(self) -> int:
        """Columns, the mark not counted."""
        return len(self.labels) or len(self.mean_W) or 1

    def columns(self, items: pl.DataFrame, given: Mapping[str, Given]) -> FloatArray:
        """The block's columns for items, the mark last; shape (N, W) or (N, W + 1)."""
        if self.source is Source.LABELS:
            return self._multi_hot(items[self.name])
        if self.source is Source.FLAG:
            return items[self.name].fill_null(value=False).to_numpy()[:, None].astype(np.float32)
        vectors_NW, present_N = self._vectors(items, given)
        columns_NW = np.zeros((len(items), self.width), dtype=np.float32)
        mean_W = np.array(self.mean_W, dtype=vectors_NW.dtype)
        columns_NW[present_N] = vectors_NW[present_N] - mean_W
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
    """All blocks in the order of their columns, and how an item's strings become its text.

    Attributes:
        blocks: What `transform` lays side by side.
        text_attributes: The strings that make an item's text, in order; the text's block is named "text".
    """

    blocks: tuple[FittedBlock, ...]
    text_attributes: tuple[str, ...]

    @property
    def width(self) -> int:
        """E."""
        return sum(block.width + block.is_marked for block in self.blocks)

    @property
    def of_content_E(self) -> NDArray[np.bool_]:
        """The columns that an item has before anybody chose it: all but the co-occurrence's."""
        collaborative = self.given_block(COLLABORATIVE)
        widths = [(block is not collaborative, block.width + block.is_marked) for block in self.blocks]
        return np.repeat(*map(np.array, zip(*widths, strict=True)))

    def given_block(self, name: str) -> FittedBlock | None:
        """The block of a given vector, None where there is none; an attribute may bear the same name."""
        return next((block for block in self.blocks if (block.name, block.source) == (name, Source.GIVEN)), None)

    def transform(self, items: pl.DataFrame, given: Mapping[str, Given]) -> FloatArray:
        """The features of items.

        Args:
            items: A column for each attribute that a block reads; nulls are allowed.
            given: The vectors that are no attribute, by block; all items lack those of a block that is left out.

        Returns:
            features_NE.
        """
        return np.concatenate([block.columns(items, given) for block in self.blocks], axis=1)

    def texts(self, items: pl.DataFrame) -> list[str]:
        """Each item's text, empty where it has none of the strings."""
        return texts_of(items, self.text_attributes)

    def to_json(self) -> str:
        """For the bundle; `from_json` reads it."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Featurizer":
        """Reads what `to_json` wrote.

        Raises:
            ValueError: If it is something else.
        """
        featurizer = TypeAdapter(cls).validate_json(text, strict=True)
        numbers = [number for block in featurizer.blocks for number in (block.weight, block.scale, *block.mean_W)]
        has_scales = all(block.scale for block in featurizer.blocks)
        if not featurizer.blocks or not has_scales or not all(abs(number) <= MAX_FLOAT32 for number in numbers):
            raise ValueError("a featurizer needs blocks, whose numbers must be float32 and whose scales must not be 0")
        return featurizer


def number_values(column: pl.Series) -> Given:
    """A number an item, present where it is finite; shape (N, 1)."""
    numbers_N = column.cast(pl.Float64).to_numpy()
    present_N = np.isfinite(numbers_N)
    return Given(np.where(present_N, numbers_N, 0.0)[:, None], np.asarray(present_N))


def vector_values(column: pl.Series) -> Given:
    """The vectors of an array column."""
    assert isinstance(column.dtype, pl.Array)
    present_N = column.is_not_null().to_numpy()
    vectors_NW = np.zeros((len(column), *column.dtype.shape), dtype=np.float32)
    vectors_NW[present_N] = column.drop_nulls().to_numpy()
    return Given(vectors_NW, present_N)


def label_marks(column: pl.Series) -> pl.DataFrame:
    """The distinct pairs of `row` and `label` in a column of strings or of lists of them."""
    marks = pl.DataFrame({"row": pl.int_range(len(column), eager=True), "label": column})
    if isinstance(column.dtype, pl.List):
        marks = marks.explode("label")
    return marks.drop_nulls().unique()


def texts_of(items: pl.DataFrame, attributes: Sequence[str]) -> list[str]:
    """Every item's strings as one text such as "Title: Heat. Genres: Crime, Drama"; empty where it has none."""
    if not attributes:
        return [""] * len(items)
    named = []
    for name in attributes:
        # The column itself and not its name: polars reads names such as "*" as patterns.
        column = items[name].list.join(", ") if isinstance(items.schema[name], pl.List) else items[name]
        label = f"{name.replace('_', ' ').capitalize()}: "
        # What is empty or null has no label either.
        named.append(label + column.replace("", None))
    return pl.select(pl.concat_str(named, separator=SEPARATOR, ignore_nulls=True)).to_series().to_list()
