"""Holds columns of text by their distinct values, so that a row takes four bytes.

Ids, ratings and event types of a log have few distinct values. What depends only on the value is worked out once for
each of them, and not for each row.

Shapes: V distinct values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl


def encoded(frame: pl.LazyFrame, names: Sequence[str]) -> pl.LazyFrame:
    """Returns a lazy table whose columns of text are categoricals, each with categories of its own.

    Args:
        frame: The lazy table.
        names: The columns to convert. Those that are no text, and those that the table lacks, are left as they are.
    """
    schema = frame.collect_schema()
    texts = [name for name in names if schema.get(name) == pl.String]
    return frame.with_columns(pl.col(name).cast(_own_categories()) for name in texts)


@dataclass(frozen=True)
class DistinctTexts:
    """A column of text: its distinct values, and for each row which of them it has.

    >>> texts = DistinctTexts.from_column(pl.Series("user_id", ["b ", "a", None, "b "]))
    >>> texts.count(texts.values_V == "b "), texts.first(texts.values_V == "a", texts.values_V)
    (2, (1, 'a'))
    >>> texts.spread(texts.values_V.str.strip_chars()).to_list()
    ['b', 'a', None, 'b']

    Attributes:
        column: The column, a categorical; null for a missing value.
        values_V: The distinct values in the column, as strings in any order, without null.
    """

    column: pl.Series
    values_V: pl.Series
    _place_of_code: pl.Series

    @classmethod
    def from_column(cls, column: pl.Series) -> "DistinctTexts":
        """Finds the distinct values of a column.

        Args:
            column: A column of any type that can be converted to text.
        """
        if not isinstance(column.dtype, pl.Categorical):
            text = pl.col(column.name).cast(pl.String).cast(_own_categories())
            column = column.to_frame().lazy().select(text).collect(engine="streaming").to_series().rechunk()
        found = column.unique().drop_nulls()
        codes_V = found.to_physical().to_numpy()
        place_of_code = np.zeros(int(codes_V.max(initial=0)) + 1, dtype=np.uint32)
        place_of_code[codes_V] = np.arange(len(codes_V), dtype=np.uint32)
        return cls(column, found.cast(pl.String), pl.Series(place_of_code))

    def spread(self, of_value_V: pl.Series) -> pl.Series:
        """Returns what belongs to the value of each row; null for a row without a value.

        Args:
            of_value_V: What belongs to each of `values_V`, of any type. Text is returned as a categorical.
        """
        name = self.column.name
        if of_value_V.dtype == pl.String:
            of_value_V = of_value_V.cast(_own_categories())
        if not len(of_value_V):
            return pl.Series(name, [None] * len(self.column), dtype=of_value_V.dtype)
        return of_value_V.gather(self._place_of_code).gather(self.column.to_physical()).alias(name)

    def with_values(self, of_value_V: pl.Series) -> pl.Series:
        """Returns the column with another text for each value. If no text is another one, it is the same column.

        Args:
            of_value_V: The new text of each of `values_V`; null for a text that counts as missing.
        """
        return self.column if of_value_V.equals(self.values_V) else self.spread(of_value_V)

    def count(self, chosen_V: pl.Series) -> int:
        """Returns the number of rows with one of the chosen values.

        Args:
            chosen_V: Whether each of `values_V` is chosen; null counts as False.
        """
        return int(self.spread(chosen_V).sum()) if chosen_V.any() else 0

    def first(self, chosen_V: pl.Series, of_value_V: pl.Series) -> tuple[int, Any]:
        """Returns the first row with one of the chosen values, and what belongs to its value.

        Args:
            chosen_V: Whether each of `values_V` is chosen; at least one is.
            of_value_V: What belongs to each of `values_V`.
        """
        row = self.spread(chosen_V).fill_null(value=False).arg_max()
        assert row is not None
        return row, of_value_V[self._place_of_code[self.column.to_physical()[row]]]


def _own_categories() -> pl.Categorical:
    return pl.Categorical(pl.Categories.random())
