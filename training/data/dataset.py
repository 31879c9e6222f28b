"""Defines `Dataset`, the form of every data set after reading: checked items, and interactions sorted by time."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import polars as pl

from rqrec.models.errors import UserError

ITEM_ID, USER_ID, TIMESTAMP, RATING, EVENT_TYPE = "item_id", "user_id", "timestamp", "rating", "event_type"
TEXTS_OF_LOG = (USER_ID, ITEM_ID, RATING, EVENT_TYPE)  # columns of interactions whose text has few distinct values
WEIGHT, TYPE = "weight", "type"
ROWS_AT_ONCE = 1_000_000


class DataError(UserError):
    """Raised when raw data cannot be used. The message says what was expected, what was found and what to do."""


class FilesChanged(DataError):
    """Raised when files of a source changed while they were read. The next run reads them as they are then."""


@dataclass(frozen=True)
class Dataset:
    """A catalogue of items and the users' interactions with them.

    Attributes:
        name: Short name of the source, such as "ml-100k".
        items: Table with one row per item: `item_id` (string), then the attributes. The row number of an item is its
            item_index.
        interactions: Table with one row per interaction, grouped by user, oldest first. Its columns are user_index and
            item_index (int32) and timestamp (integer). If training weights differ, it also has `weight` (float32): how
            much the interaction counts as a training target, 0 if it must not be one. If event types differ, it also
            has `type` (int8): 0 for unknown, else 1 + the index of the type in `event_types`.
        fingerprint: SHA-256 of the items and interactions, hexadecimal.
        event_types: The names of the event types in `interactions`.
        excluding_types: The names of event types that only exclude an item from the user's recommendations, such as
            "hidden". `interactions` does not hold such events.
        disliking_types: The names of those `event_types` that are dislikes.
        user_ids: The id of each user (string), by user_index; empty if the ids were not read.
    """

    name: str
    items: pl.DataFrame
    interactions: pl.DataFrame
    fingerprint: str
    event_types: tuple[str, ...] = ()
    excluding_types: tuple[str, ...] = ()
    disliking_types: tuple[str, ...] = ()
    user_ids: pl.Series = field(default_factory=lambda: pl.Series(USER_ID, [], dtype=pl.String))

    @property
    def disliked_types(self) -> tuple[int, ...]:
        """The numbers of the `disliking_types` in the column `type` of `interactions`."""
        return tuple(self.event_types.index(name) + 1 for name in self.disliking_types)

    @property
    def num_users(self) -> int:
        """Number of users with at least one interaction."""
        return self.interactions["user_index"].n_unique()


class RawTables(NamedTuple):
    """The tables of a data set as they were read from files, before any check.

    Attributes:
        interactions: Lazy table with user_id, item_id and, if the source has them, timestamp, rating and event_type.
        items: Table with item_id and any attributes; None if the data set has no items table.
        log: Name of the interactions file.
        catalogue: Name of the items file.
    """

    interactions: pl.LazyFrame
    items: pl.DataFrame | None
    log: str
    catalogue: str


def require_file(path: Path, *, expected: str) -> Path:
    """Checks that a file exists, and returns its path.

    Args:
        path: The path of the file.
        expected: What the file should hold, such as "movieId,title,genres", for the error message.

    Raises:
        DataError: If the file does not exist.
    """
    if not path.is_file():
        entries = path.parent.iterdir() if path.parent.is_dir() else ()
        other = [entry.name for entry in entries if entry.name.lower() == path.name.lower()]
        remedy = f": rename {other[0]!r}" if other else ""
        raise DataError(f"expected {expected} at {path}, but there is no such file{remedy}")
    return path


def require_columns(columns: list[str], required: list[str], *, path: Path | str) -> None:
    """Checks that a table has all required columns.

    Args:
        columns: The names of the table's columns.
        required: The names of the columns that the table must have.
        path: The table's file or name, for the error message.

    Raises:
        DataError: If a column is missing.
    """
    missing = [column for column in required if column not in columns]
    if missing:
        raise DataError(f"{path} must have the columns {required}, but {missing} are missing: it has {columns}")


def fingerprint(items: pl.DataFrame, interactions: pl.DataFrame) -> str:
    """Returns the SHA-256 of all values and column types of a data set, hexadecimal.

    Args:
        items: The items table.
        interactions: The interactions table.
    """
    digest = hashlib.sha256()
    for frame in (items, interactions):
        digest.update(repr(frame.schema).encode())
        for column in frame.iter_columns():
            flat = column.alias("values")  # polars reads names such as "*" as patterns
            while isinstance(flat.dtype, pl.List | pl.Array):
                digest.update(flat.is_null().to_numpy().tobytes())
                if isinstance(flat.dtype, pl.List):
                    digest.update(flat.list.len().fill_null(0).to_numpy().tobytes())
                flat = flat.explode(empty_as_null=False, keep_nulls=False)
            if flat.dtype == pl.String:
                lengths = flat.str.len_bytes().fill_null(2**32 - 1)
                digest.update(lengths.to_numpy().tobytes())
                digest.update("".join(flat.fill_null("").to_list()).encode())
            else:
                for rows in flat.is_null().to_frame().iter_slices(ROWS_AT_ONCE):
                    digest.update(rows.to_series().to_numpy().tobytes())
                for rows in flat.to_frame().iter_slices(ROWS_AT_ONCE):
                    digest.update(rows.to_series().to_physical().fill_null(0).to_numpy().tobytes())
    return digest.hexdigest()
