"""What a column of the data holds and how it is used: one row of the table that begins a run."""

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
    """A column and its use.

    Attributes:
        table: "interactions" or "items".
        name: Name of the column.
        use: How it is used, such as "labels" or "not used".
        reason: Why, in a few words.
        distinct: Number of different values, in lists of different words; None if the column is not read.
        distinct_share: The same as a share of the values, without missing ones.
        missing_share: Share of the rows without a value; None if the column is not read.
        example: The first value.
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
        """Describes a column that was read.

        Args:
            table: "interactions" or "items".
            values: The column.
            use: How it is used.
            reason: Why, in a few words.
            name: Name of the column in its file, if the column was renamed.
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
    """Describes the columns of the interactions.

    Args:
        rows: The columns that are read, by their standard names.
        used: The file's name of each of them by its standard name.
        columns: The file's names of all columns.
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
    """Writes columns to a stage's folder.

    Args:
        columns: The columns.
        folder: The folder.
    """
    (folder / COLUMNS).write_text(json.dumps([asdict(column) for column in columns], indent=1), encoding="utf-8")


def read_columns(folder: Path) -> list[Column]:
    """Reads the columns that `write_columns` wrote."""
    return [Column(**fields) for fields in json.loads((folder / COLUMNS).read_text(encoding="utf-8"))]
