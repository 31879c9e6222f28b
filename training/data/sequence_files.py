"""Reads sequence files, a format of research data sets: each line is `user item item …`, oldest item first."""

import codecs
from pathlib import Path

import polars as pl

from rqrec.training.data.dataset import DataError, require_columns, require_file
from rqrec.training.data.reading.nested import in_fixed_order


def read_sequence_files(folder: Path) -> tuple[pl.LazyFrame, pl.DataFrame]:
    """Reads a folder that holds items.jsonl and one sequence file.

    The sequence file is the .txt file that `find_sequence_file` finds. Its lines are `user item item …`, and the order
    in a line is the order in time. Each line of items.jsonl is an object with item_id and any attributes. Nested lists
    of strings, such as categories, are flattened.

    Args:
        folder: Folder of the two files.

    Returns:
        A lazy table of interactions (user_id, item_id, and timestamp: the item's index in its line, from 0), and a
        table of items.

    Raises:
        DataError: If a file is missing or ambiguous, a line is malformed, the sequence file is empty, or a user has two
            lines.
    """
    path = find_sequence_file(folder)
    rows = _rows(path)
    for number, row in enumerate(rows, start=1):
        if len(row) < 2:
            raise DataError(f"{path}:{number} must be a user and at least one item, got {' '.join(row)!r}")
    lines = pl.DataFrame({"user_id": [row[0] for row in rows], "item_id": [row[1:] for row in rows]})
    twice = (~lines["user_id"].is_first_distinct()).arg_true()
    if len(twice):
        raise DataError(
            f"{path}:{twice[0] + 1} is another line of user {rows[twice[0]][0]!r}, but a user must have one: join the "
            "lines of a user"
        )
    interactions = (
        lines.lazy()
        .with_columns(pl.int_ranges(pl.col("item_id").list.len()).alias("timestamp"))
        .explode("item_id", "timestamp")
    )
    return interactions, _read_items(folder / "items.jsonl")


def read_day_gaps(folder: Path) -> pl.DataFrame | None:
    """Reads `<Name>_day_gaps.txt`, which has for each interaction the days since the user's previous interaction.

    Each line is `user gap gap …`, with one gap for each item of the user in the sequence file; the first gap is 0.

    Args:
        folder: Folder of both files, `<Name>_day_gaps.txt` and the sequence file `<Name>.txt`.

    Returns:
        A table with user_id, timestamp (the item's index in its line, as in `read_sequence_files`) and day (days since
        the user's first interaction). None if there is no such file.

    Raises:
        DataError: If the file does not match the sequence file.
    """
    if not any(folder.glob("*_day_gaps.txt")):
        return None
    sequences = find_sequence_file(folder)
    path = sequences.with_name(f"{sequences.stem}_day_gaps.txt")
    if not path.is_file():
        return None
    rows = _rows(path)
    are_numbers = all(gap.isdecimal() for row in rows for gap in row[1:])
    if not are_numbers or {row[0]: len(row) for row in rows} != {row[0]: len(row) for row in _rows(sequences)}:
        raise DataError(
            f"{path} must have the users of {sequences.name} and one number for each of their items: correct it"
        )
    gaps = pl.DataFrame({"user_id": [row[0] for row in rows], "day": [[int(gap) for gap in row[1:]] for row in rows]})
    return gaps.with_columns(
        pl.col("day").list.eval(pl.element().cum_sum()), pl.int_ranges(pl.col("day").list.len()).alias("timestamp")
    ).explode("day", "timestamp")


def find_sequence_file(folder: Path) -> Path:
    """Returns the path of the only sequence file (.txt) in a folder.

    Of several .txt files, the one with the folder's name is taken, in upper or lower case. A file `<Name>_day_gaps.txt`
    does not count.

    Args:
        folder: The folder to look in.

    Raises:
        DataError: If there is no sequence file, or there are several and none has the folder's name.
    """
    candidates = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".txt")
    named = [path for path in candidates if path.stem.lower() == folder.resolve().name.lower()]
    if len(named) == 1:
        return named[0]
    sequences = [path for path in candidates if not path.stem.endswith("_day_gaps")]
    if len(sequences) != 1:
        raise DataError(
            f"expected one sequence file (.txt, `user item item …` a line) in {folder}, found "
            f"{[path.name for path in sequences]}: name it {folder.resolve().name}.txt, or keep just one"
        )
    return sequences[0]


def _rows(path: Path) -> list[list[str]]:
    """Returns the words of every line. Only ASCII spaces and line feeds separate, so an id may hold any other sign."""
    lines = path.read_bytes().removeprefix(codecs.BOM_UTF8).rstrip().split(b"\n")
    rows = [[word.decode() for word in line.split()] for line in lines]
    if not any(rows):
        raise DataError(f"{path} must hold at least one line `user item item …`, but it is empty: add lines")
    return rows


def _read_items(path: Path) -> pl.DataFrame:
    require_file(path, expected="one JSON object a line with item_id and any attributes")
    try:
        items = pl.read_ndjson(path.read_bytes(), infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} must hold one JSON object a line: {str(error).splitlines()[0]}") from error
    require_columns(items.columns, ["item_id"], path=path)
    items = pl.DataFrame([items[name] for name in in_fixed_order(items.columns)])
    nested = [name for name, dtype in items.schema.items() if dtype == pl.List(pl.List(pl.String))]
    return items.with_columns(
        pl.col(name).list.eval(pl.element().explode()).list.unique(maintain_order=True) for name in nested
    )
