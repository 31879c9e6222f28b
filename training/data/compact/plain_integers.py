"""Converts a column of text to integers if it holds nothing else, so that a row takes 8 bytes in place of 16."""

import polars as pl

ROWS_FIRST = 100  # most columns that are no integers show it in these


def with_integers(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Returns the table with integers in place of texts such as "17", if no text is lost: one such as "017" stays text.

    Args:
        frame: The table.
        name: The column to convert. If it is no text, or the table lacks it, the table is returned unchanged.
    """
    is_text = frame.schema.get(name) == pl.String
    if not (is_text and _are_integers(frame.head(ROWS_FIRST), name) and _are_integers(frame, name)):
        return frame
    numbers = frame.lazy().select(pl.col(name).cast(pl.Int64)).collect(engine="streaming")
    return frame.with_columns(numbers.rechunk())


def _are_integers(frame: pl.DataFrame, name: str) -> bool:
    text = pl.col(name)
    is_same = text.cast(pl.Int64, strict=False).cast(pl.String).eq_missing(text)
    return bool(frame.lazy().select(is_same.all()).collect(engine="streaming").item())
