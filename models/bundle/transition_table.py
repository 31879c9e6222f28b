"""Reads and writes the bundle's table of transitions: the items that followed each item in the training data.

Shapes: R items, P pairs of an item and an item that followed it.
"""

from pathlib import Path

import numpy as np
import polars as pl

from rqrec.models.search.history.transitions import KEPT, Transitions

ITEMS, STRENGTHS, SESSION_STRENGTHS = "following", "strengths", "session_strengths"
LARGEST_STRENGTH = 1e6
SCHEMA = {ITEMS: pl.List(pl.Int32), STRENGTHS: pl.List(pl.Float32)}
SESSION_SCHEMA = {**SCHEMA, SESSION_STRENGTHS: pl.List(pl.Float32)}  # of a model whose training data has times


def write_transitions(transitions: Transitions, path: Path) -> None:
    """Writes the table as a Parquet file with one row per item: the row numbers of the items that followed it.

    Args:
        transitions: The table, in the row order of the bundle's table of items.
        path: The path of the file.
    """
    counts_R = np.diff(transitions.starts_N)
    columns = {ITEMS: transitions.items_P, STRENGTHS: transitions.strengths_P}
    if transitions.session_strengths_P is not None:
        columns[SESSION_STRENGTHS] = transitions.session_strengths_P
    pairs = pl.DataFrame({"row": np.repeat(np.arange(len(counts_R)), counts_R), **columns})
    rows = pl.DataFrame({"row": np.arange(len(counts_R))})
    lists = pairs.group_by("row", maintain_order=True).agg(list(columns))
    table = rows.join(lists, on="row", how="left", maintain_order="left").select(
        pl.col(name).fill_null([]).cast(SESSION_SCHEMA[name]) for name in columns
    )
    table.write_parquet(path)


def read_transitions(path: Path, *, rows: int) -> Transitions:
    """Reads and checks a Parquet file that `write_transitions` wrote.

    Args:
        path: The path of the Parquet file.
        rows: R, the expected number of items.

    Raises:
        ValueError: If a type or the number of rows is wrong, or a value is missing or out of range.
    """
    table = pl.read_parquet(path, glob=False)
    if dict(table.schema) not in (SCHEMA, SESSION_SCHEMA) or len(table) != rows:
        raise ValueError(f"expected {rows} rows of {SCHEMA}, got {len(table)} of {dict(table.schema)}")
    lengths = table.select(pl.all().list.len())
    is_uneven = any((lengths[ITEMS] != column).any() for column in lengths.iter_columns())
    if any(column.null_count() for column in table.iter_columns()) or is_uneven:
        raise ValueError("every item needs a list of following items and a list of as many strengths")
    counts_R = lengths[ITEMS].to_numpy().astype(np.int64)
    if rows and counts_R.max() > KEPT:
        raise ValueError(f"an item may have at most {KEPT} following items, got {counts_R.max()}")
    starts_R = np.concatenate([[0], np.cumsum(counts_R)])
    pairs = table.filter(lengths[ITEMS] > 0).explode(table.columns)
    if any(column.null_count() for column in pairs.iter_columns()):
        raise ValueError("the lists must have no nulls")
    items_P, strengths_P, *session = (column.to_numpy() for column in pairs.iter_columns())
    if len(items_P) and (items_P.min() < 0 or items_P.max() >= rows):
        raise ValueError(f"following items must be in [0, {rows}), got {items_P.min()} to {items_P.max()}")
    if not ((strengths_P > 0) & (strengths_P <= LARGEST_STRENGTH)).all():
        raise ValueError(f"strengths must be numbers above 0 and at most {LARGEST_STRENGTH:g}")
    if not all(((one_P >= 0) & (one_P <= LARGEST_STRENGTH)).all() for one_P in session):
        raise ValueError(f"strengths in a session must be numbers from 0 to {LARGEST_STRENGTH:g}")
    strengths_P, *in_session = (one_P.astype(np.float32) for one_P in (strengths_P, *session))
    return Transitions(starts_R, items_P.astype(np.int32), strengths_P, in_session[0] if in_session else None)
