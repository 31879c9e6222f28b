"""The common form of every data source: checked items, and interactions ordered by time."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl

from rqrec.models.errors import UserError

ITEM_ID, USER_ID, TIMESTAMP, RATING, EVENT_TYPE = "item_id", "user_id", "timestamp", "rating", "event_type"
WEIGHT, TYPE = "weight", "type"


class DataError(UserError):
    """Raised when raw data cannot be used. The message says what was expected, what was found and what to do."""


@dataclass(frozen=True)
class Dataset:
    """A catalogue of items and the users' interactions with them.

    Attributes:
        name: Short name of the source, such as "ml-100k".
        items: One row an item: `item_id` (string), then the attributes. The row number is the item_index. The type of a
            column decides how an attribute is used: lists of strings are multi-hot, arrays of floats are vectors.
        interactions: user_index and item_index (int32) and timestamp (int64), grouped by user, oldest first. If they
            differ in what they say: `weight` (float32) of the interaction as a target of training, 0 for none. If the
            data has event types: `type` (int8), 0 for unknown, else 1 + the position in `event_types`.
        fingerprint: SHA-256 of the items and interactions, hexadecimal.
        event_types: The names of the event types that histories have.
        excluding_types: The names of the event types that only exclude their item. Such interactions are not kept.
    """

    name: str
    items: pl.DataFrame
    interactions: pl.DataFrame
    fingerprint: str
    event_types: tuple[str, ...] = ()
    excluding_types: tuple[str, ...] = ()

    @property
    def num_users(self) -> int:
        """Number of users with at least one interaction."""
        return self.interactions["user_index"].n_unique()


class RawTables(NamedTuple):
    """The tables of a data set before their checks.

    Attributes:
        interactions: Columns user_id, item_id and, if the source has them, timestamp, rating and event_type.
        items: Column item_id and any attributes; None if there is no such table.
        log: Name of the interactions' file.
        catalogue: Name of the items' file.
    """

    interactions: pl.LazyFrame
    items: pl.DataFrame | None
    log: str
    catalogue: str


def require_file(path: Path, *, expected: str) -> Path:
    """Returns the path of a file that must exist.

    Args:
        path: The file.
        expected: The content that the file should have, for the error message.

    Raises:
        DataError: If the file does not exist.
    """
    if not path.is_file():
        raise DataError(f"expected {expected} at {path}, but there is no such file")
    return path


def require_columns(columns: list[str], required: list[str], *, path: Path | str) -> None:
    """Checks that a table has the columns it needs.

    Args:
        columns: The table's columns.
        required: The columns it must have.
        path: The table's file or name, for the error message.

    Raises:
        DataError: If a column is missing.
    """
    missing = [column for column in required if column not in columns]
    if missing:
        raise DataError(f"{path} must have the columns {required}, but {missing} are missing: it has {columns}")


def fingerprint(items: pl.DataFrame, interactions: pl.DataFrame) -> str:
    """Returns the SHA-256 of all values and types, hexadecimal.

    Args:
        items: The items of a data set.
        interactions: Its interactions.
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
                digest.update(flat.is_null().to_numpy().tobytes())
                digest.update(flat.to_physical().fill_null(0).to_numpy().tobytes())
    return digest.hexdigest()
