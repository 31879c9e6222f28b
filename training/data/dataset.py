"""The common form of every data source: checked items, and interactions ordered by time."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rqrec.models.errors import UserError

ITEM_ID, USER_ID, TIMESTAMP = "item_id", "user_id", "timestamp"
EXAMPLES_SHOWN = 5


class DataError(UserError):
    """Raised when raw data cannot be used. The message says what was expected, what was found and what to do."""


@dataclass(frozen=True)
class Dataset:
    """A catalogue of items and the users' interactions with them.

    Attributes:
        name: Short name of the source, such as "ml-100k".
        items: One row an item: `item_id` (string), then the attributes. The row number is the item_index. The type of a
            column decides how an attribute is used: lists of strings are multi-hot, arrays of floats are vectors.
        interactions: user_index and item_index (int32) and timestamp (int64), grouped by user, oldest first.
        fingerprint: SHA-256 of the items and interactions, hexadecimal.
    """

    name: str
    items: pl.DataFrame
    interactions: pl.DataFrame
    fingerprint: str

    @property
    def num_users(self) -> int:
        """Number of users with at least one interaction."""
        return self.interactions["user_index"].n_unique()


def build_dataset(
    name: str, interactions: pl.LazyFrame, items: pl.DataFrame, *, drop_duplicates: bool = False
) -> Dataset:
    """Checks raw tables, orders every user's interactions by time, and numbers users and items.

    Interactions of one user with the same time are ordered by a fixed hash of user and item. So the order of the rows
    in the raw files has no influence on the sequences.

    Args:
        name: Short name of the source.
        interactions: Columns user_id, item_id (strings) and timestamp (any number, date or time).
        items: Column item_id (string) and any attributes.
        drop_duplicates: Whether one of several equal (user, item, time) rows is kept; otherwise such rows are an error.

    Raises:
        DataError: If a column is missing or empty, an id or time is null, an item is listed twice, an interaction
            is listed twice, or an interaction names an unknown item.
    """
    items = _checked_items(items)
    frame = _checked_interactions(interactions)
    duplicates = frame.filter(frame.select(USER_ID, ITEM_ID, TIMESTAMP).is_duplicated())
    if drop_duplicates:
        frame = frame.unique(maintain_order=True)
    elif len(duplicates):
        raise DataError(
            f"interactions must be distinct in (user_id, item_id, timestamp), but {len(duplicates)} rows are not, "
            f"such as {_examples(duplicates)}: remove them, or set DatasetSettings.drop_duplicates = True"
        )
    known = items.select(ITEM_ID).with_row_index("item_index")
    indexed = frame.join(known, on=ITEM_ID, how="left")
    unknown = indexed.filter(pl.col("item_index").is_null())[ITEM_ID].unique().sort()
    if len(unknown):
        raise DataError(
            f"interactions name {len(unknown)} items that the items table does not have, such as "
            f"{unknown.head(EXAMPLES_SHOWN).to_list()}: add them to the items, or remove their interactions"
        )
    users = indexed.select(USER_ID).unique().sort(USER_ID).with_row_index("user_index")
    numbered = indexed.join(users, on=USER_ID)
    ordered = (
        numbered.with_columns(_tie_order(numbered))
        .sort("user_index", TIMESTAMP, "tie_order")
        .select(pl.col("user_index", "item_index").cast(pl.Int32), TIMESTAMP)
    )
    return Dataset(name, items, ordered, _fingerprint(items, ordered))


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


def _checked_items(items: pl.DataFrame) -> pl.DataFrame:
    require_columns(items.columns, [ITEM_ID], path="the items table")
    if items.is_empty():
        raise DataError("the items table must hold at least one item, but it is empty")
    items = items.select(pl.col(ITEM_ID).cast(pl.String), pl.exclude(ITEM_ID))
    missing = int(items[ITEM_ID].null_count() + (items[ITEM_ID] == "").sum())
    if missing:
        raise DataError(f"every item needs an item_id, but {missing} have none: fill them in, or remove these items")
    twice = items.filter(items[ITEM_ID].is_duplicated())[ITEM_ID].unique().sort()
    if len(twice):
        raise DataError(
            f"every item_id must be listed once, but {len(twice)} are listed more often, such as "
            f"{twice.head(EXAMPLES_SHOWN).to_list()}: merge their rows"
        )
    return items


def _checked_interactions(interactions: pl.LazyFrame) -> pl.DataFrame:
    schema = interactions.collect_schema()
    require_columns(schema.names(), [USER_ID, ITEM_ID, TIMESTAMP], path="the interactions table")
    dtype = schema[TIMESTAMP]
    time = pl.col(TIMESTAMP)
    if dtype.is_temporal():
        time = time.cast(pl.Datetime("us")).cast(pl.Int64)
    elif dtype == pl.String:
        time = time.str.to_datetime(strict=False, time_unit="us").cast(pl.Int64)
    elif dtype.is_float():
        # Microseconds keep the fractions of a second; without them, interactions of one second would tie.
        time = (pl.when(time.is_finite()).then(time) * 1_000_000).cast(pl.Int64)
    elif not dtype.is_integer():
        raise DataError(f"timestamp must be a number, a date or a time, got {dtype}")
    frame = interactions.select(
        pl.col(USER_ID).cast(pl.String), pl.col(ITEM_ID).cast(pl.String), time.alias(TIMESTAMP)
    ).collect(engine="streaming")
    if frame.is_empty():
        raise DataError("the interactions table must hold at least one interaction, but it is empty")
    for column in frame.columns:
        bad = frame.with_row_index("row").filter(pl.col(column).is_null())
        if len(bad):
            raise DataError(
                f"every interaction needs a valid {column}, but {len(bad)} have none; the first is data row "
                f"{bad['row'][0] + 1} of {len(frame)}"
            )
    return frame


def _tie_order(frame: pl.DataFrame) -> pl.Series:
    """Returns a fixed hash of (user_index, item_index). splitmix64 never changes with the version of a library."""
    pairs = frame["user_index"].to_numpy().astype(np.uint64) << np.uint64(32)
    return pl.Series("tie_order", _splitmix64(pairs | frame["item_index"].to_numpy().astype(np.uint64)))


def _splitmix64(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def _fingerprint(items: pl.DataFrame, interactions: pl.DataFrame) -> str:
    digest = hashlib.sha256()
    for frame in (items, interactions):
        digest.update(repr(frame.schema).encode())
        for column in frame.iter_columns():
            flat = column
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


def _examples(frame: pl.DataFrame) -> list[tuple[object, ...]]:
    return frame.head(EXAMPLES_SHOWN).rows()
