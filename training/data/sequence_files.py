"""Sequence files as the literature on sequential recommendation uses them: `user item item …` a line, oldest first."""

from pathlib import Path

import polars as pl

from training.data.dataset import DataError, require_columns, require_file


def read_sequence_files(folder: Path) -> tuple[pl.LazyFrame, pl.DataFrame]:
    """Reads a folder with items.jsonl and one sequence file beside it.

    The sequence file is the folder's one .txt file whose lines are `user item item …`; the order within a line is the
    order in time. items.jsonl has an object a line with item_id and any attributes; nested lists of categories are
    flattened.

    Returns:
        Interactions (user_id, item_id, timestamp: the place in the line) and items.

    Raises:
        DataError: If a file is missing or ambiguous, a line is malformed or a user has two lines.
    """
    path = find_sequence_file(folder)
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows, start=1):
        if len(row) < 2:
            raise DataError(f"{path}:{number} must be a user and at least one item, got {' '.join(row)!r}")
    lines = pl.DataFrame({"user_id": [row[0] for row in rows], "item_id": [row[1:] for row in rows]})
    twice = lines.filter(lines["user_id"].is_duplicated())["user_id"]
    if len(twice):
        raise DataError(f"{path} must have one line a user, but user {twice[0]!r} has {len(twice)} or shares them")
    interactions = (
        lines.lazy()
        .with_columns(pl.int_ranges(pl.col("item_id").list.len()).alias("timestamp"))
        .explode("item_id", "timestamp")
    )
    return interactions, _read_items(folder / "items.jsonl")


def find_sequence_file(folder: Path) -> Path:
    """The folder's one sequence file.

    `<Name>.txt` for a folder of that name (whatever the case) goes before other text files.

    Raises:
        DataError: If there is none, or more than one and none bears the folder's name.
    """
    candidates = sorted(folder.glob("*.txt"))
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


def _read_items(path: Path) -> pl.DataFrame:
    require_file(path, expected="one JSON object a line with item_id and any attributes")
    try:
        items = pl.read_ndjson(path, infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} must hold one JSON object a line: {error}") from error
    require_columns(items.columns, ["item_id"], path=path)
    nested = [name for name, dtype in items.schema.items() if dtype == pl.List(pl.List(pl.String))]
    return items.with_columns(
        pl.col(name).list.eval(pl.element().explode()).list.unique(maintain_order=True) for name in nested
    )
