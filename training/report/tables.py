"""Writes tables as HTML. Every text is escaped: names of items come from the data."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: Plain text.
        note: More plain text, in a second line and smaller.
        is_number: Whether the text is set to the right.
        tone: "praise" or "warning" to colour the text; empty for neither.
    """

    text: str
    note: str = ""
    is_number: bool = True
    tone: str = ""


def table(heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Returns a table as HTML, which scrolls by itself on narrow screens.

    Args:
        heads: The names of the columns.
        rows: The cells of each row. The first one is the heading of the row.
    """
    numbers = [cell.is_number for cell in rows[0]] if rows else [False] * len(heads)
    head = "".join(
        f'<th scope="col"{_class(is_number)}>{escape(name)}</th>'
        for name, is_number in zip(heads, numbers, strict=True)
    )
    lines = "".join(f"<tr>{_first(row[0])}{''.join(map(_cell, row[1:]))}</tr>" for row in rows)
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _first(cell: Cell) -> str:
    return f'<th scope="row"{_class(cell.is_number)}>{_content(cell)}</th>'


def _cell(cell: Cell) -> str:
    return f"<td{_class(cell.is_number)}>{_content(cell)}</td>"


def _class(is_number: bool) -> str:
    return ' class="number"' if is_number else ""


def _content(cell: Cell) -> str:
    text = escape(cell.text)
    text = f'<span class="{cell.tone}">{text}</span>' if cell.tone else text
    return text + (f"<small>{escape(cell.note)}</small>" if cell.note else "")
