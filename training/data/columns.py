"""Describes the columns of the input data: the values of each column, and how training uses it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

INTERACTIONS, ITEMS = "interactions", "items"
NOT_USED = "not used"
LONGEST_EXAMPLE = 80
COLUMNS = "columns.json"


@dataclass(frozen=True)
class Column:
    """The description of one column of the input data: how training uses it, and statistics of its values.

    Attributes:
        table: The table of the column: "interactions" or "items".
        name: Name of the column.
        use: How training uses the column: "not used"; or for items a use such as "labels" or "number"; or for
            interactions the column's name in training, such as "user_id".
        reason: Why the column is used in this way, in a few words.
        distinct: Number of different values, or of different elements in a column of lists. None if the column is not
            read.
        distinct_share: `distinct` divided by the number of values that are not missing; None if the column is not read
            or has no values.
        missing_share: Share of the rows without a value, in [0, 1]; None if the column is not read.
        example: The first value as text; empty if the column is not read or has no values.
    """

    table: str
    name: str
    use: str
    reason: str
    distinct: int | None = None
    distinct_share: float | None = None
    missing_share: float | None = None
    example: str = ""

    @classmethod
    def from_values(cls, table: str, values: pl.Series, use: str, reason: str, *, name: str = "") -> "Column":
        """Makes the description of a column, with statistics of its values.

        Args:
            table: The table of the column: "interactions" or "items".
            values: The values of the column, one per row.
            use: How training uses the column, such as "labels"; see `Column.use`.
            reason: Why the column is used in this way, in a few words.
            name: Name of the column in its file; empty if it is the name of `values`.
        """
        present = values.drop_nulls()
        example = _example(present)
        if present.dtype == pl.List(pl.String):
            present = present.explode().drop_nulls()
        if present.dtype.is_float():
            present = present.filter(present.is_not_nan())
        distinct = present.n_unique()
        num_missing = values.null_count() + (int(values.is_nan().sum()) if values.dtype.is_float() else 0)
        return cls(
            table,
            name or values.name,
            use,
            reason,
            distinct=distinct,
            distinct_share=distinct / len(present) if len(present) else None,
            missing_share=num_missing / len(values) if len(values) else None,
            example=example,
        )


def _example(present: pl.Series) -> str:
    if not len(present):
        return ""
    value = present[0]
    text = str(value.head(5).to_list()) if isinstance(value, pl.Series) else str(value)
    return " ".join(text.split())[:LONGEST_EXAMPLE]


def interaction_columns(rows: pl.DataFrame, used: Mapping[str, str], columns: Sequence[str]) -> list[Column]:
    """Describes every column of the interactions file, used or not.

    Args:
        rows: The values of the columns that training reads, under their standard names: the names in training, such as
            user_id.
        used: The name in the file of each of these columns, by standard name, such as {"user_id": "CustomerID"}.
        columns: The names of all columns in the file.

    Returns:
        One description per column, in the order of `columns`.
    """
    standard = {name: key for key, name in used.items()}
    described = []
    for name in columns:
        if name in standard:
            reason = "by its name" if standard[name] == name else f"read as {standard[name]}"
            described.append(Column.from_values(INTERACTIONS, rows[standard[name]], standard[name], reason, name=name))
        else:
            described.append(Column(INTERACTIONS, name, NOT_USED, "no use for it among interactions"))
    return described


def write_columns(columns: Sequence[Column], folder: Path) -> None:
    """Writes descriptions of columns to the file columns.json, for `read_columns`.

    Args:
        columns: The descriptions.
        folder: The folder of the file.
    """
    (folder / COLUMNS).write_text(json.dumps([asdict(column) for column in columns], indent=1), encoding="utf-8")


def read_columns(folder: Path) -> list[Column]:
    """Reads the descriptions of columns that `write_columns` wrote to a folder."""
    return [Column(**fields) for fields in json.loads((folder / COLUMNS).read_text(encoding="utf-8"))]
