"""Draws a text table that shows how training uses each column of the input data, and why."""

from collections.abc import Sequence
from io import StringIO

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rqrec.training.data.columns import ITEMS, NOT_USED, Column
from rqrec.training.data.dataset import ITEM_ID
from rqrec.training.features.column_use import ColumnUse, Use

WIDTH = 120  # characters of a terminal
WIDTHS = {"column": 27, "used as": 12, "why": 24, "different": 18, "missing": 7, "example": 17}


def columns_of_items(items: pl.DataFrame, uses: Sequence[ColumnUse]) -> list[Column]:
    """Describes every column of the items table: how training uses it, the reason, and statistics of its values.

    `columns_table` draws the descriptions.

    Args:
        items: The items table, one row per item.
        uses: How each column except item_id is used, from `decide_uses`.
    """
    described = [Column.from_values(ITEMS, items[ITEM_ID], ITEM_ID, "names the item")]
    return described + [Column.from_values(ITEMS, items[use.name], _shown(use), use.reason) for use in uses]


def columns_table(columns: Sequence[Column]) -> str:
    """Draws descriptions of columns as a text table, at most 120 characters wide.

    Args:
        columns: The descriptions of the columns of interactions and items.

    Returns:
        The table as text with several lines.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title, width in WIDTHS.items():
        is_number = title in ("different", "missing")
        wraps = title == "why"
        table.add_column(
            title,
            width=width,
            justify="right" if is_number else "left",
            no_wrap=not wraps,
            overflow="fold" if wraps else "ellipsis",
        )
    for kind in dict.fromkeys(column.table for column in sorted(columns, key=lambda column: column.table)):
        table.add_row(f"{kind}:")
        for column in columns:
            if column.table == kind:
                table.add_row(*map(Text, _cells(column)))  # Text, because rich reads [words] in strings as styles
    text = StringIO()
    Console(file=text, width=WIDTH, color_system=None, force_terminal=False).print(table)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines() if line.strip())


def _cells(column: Column) -> tuple[str, ...]:
    missing = _percent(column.missing_share)
    return (f"  {column.name}", column.use, column.reason, _different(column), missing, column.example)


def _shown(use: ColumnUse) -> str:
    if use.use is Use.IGNORE:
        return NOT_USED
    return "labels, text" if use.use is Use.LABELS and use.in_text else str(use.use)


def _different(column: Column) -> str:
    if column.distinct is None:
        return ""
    return f"{column.distinct:,} ({_percent(column.distinct_share)})" if column.distinct_share is not None else "0"


def _percent(share: float | None) -> str:
    if share is None:
        return ""
    return "<1 %" if 0 < share < 0.005 else f"{share:.0%}".replace("%", " %")
