"""Opens the SQLite file of the event store.

Tables:

- `records` is the stream: one row for each event, and one without an event for each user who was forgotten.
- `event_ids` holds hashes of the ids of recent events, which tell whether an event was stored before.
- `users` and `history` hold the histories; `users.num_entries` is the number of rows in `history`.
- `impressions` holds the lists that were shown. `counts_in` says where one counts, as JSON: trial, version, role,
  surface and bucket; NULL if it counts nowhere. The bits of `outcomes` say which outcomes are counted.
- `early_outcomes` holds, for an hour, outcomes of impressions that are not stored yet; see `user_mark`.
- `trial_counts` holds the counts of each trial. `part` is the surface or the bucket of a `Cell`, as JSON.
- `store` has one row, the random id of the store.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import orjson

from rqrec.service.errors import StoreUnavailable

ItemT = TypeVar("ItemT")
ROWS_AT_ONCE = 1000  # SQLite allows 32,766 values in a statement
SCHEMA_VERSION = 3
BUSY_TIMEOUT_S = 5.0  # longest wait for another process that writes
CHECKPOINT_PAGES = 4000  # pages of 4 KiB in the write-ahead log, before they are copied to the main file
CACHE_KIB = 16 << 10
SCHEMA = """
CREATE TABLE records (position INTEGER PRIMARY KEY AUTOINCREMENT, user_id TEXT NOT NULL, event TEXT);
CREATE INDEX records_of_user ON records (user_id);
CREATE TABLE event_ids (hash BLOB PRIMARY KEY, expires_at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX event_ids_by_expiry ON event_ids (expires_at);
CREATE TABLE users (
  user_key INTEGER PRIMARY KEY, user_id TEXT NOT NULL UNIQUE, num_entries INTEGER NOT NULL, expires_at REAL NOT NULL
);
CREATE INDEX users_by_expiry ON users (expires_at);
CREATE TABLE history (
  user_key INTEGER NOT NULL, at_us INTEGER NOT NULL, arrival INTEGER NOT NULL, entry TEXT NOT NULL,
  PRIMARY KEY (user_key, at_us, arrival)
) WITHOUT ROWID;
CREATE TABLE impressions (
  recommendation_id TEXT PRIMARY KEY, user_id TEXT, at REAL NOT NULL, impression TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX impressions_of_user ON impressions (user_id, at);
CREATE INDEX impressions_by_time ON impressions (at);
PRAGMA user_version = 1;
"""
UPGRADES = {  # by the version that each leads to
    2: """
ALTER TABLE impressions ADD COLUMN outcomes INTEGER NOT NULL DEFAULT 0;
CREATE TABLE early_outcomes (
  recommendation_id TEXT NOT NULL, mark TEXT NOT NULL, bit INTEGER NOT NULL, expires_at REAL NOT NULL,
  PRIMARY KEY (recommendation_id, mark, bit)
) WITHOUT ROWID;
CREATE INDEX early_outcomes_by_expiry ON early_outcomes (expires_at);
CREATE TABLE trial_counts (
  trial INTEGER NOT NULL, part TEXT NOT NULL, version TEXT NOT NULL, role TEXT NOT NULL,
  impressions INTEGER NOT NULL, clicks INTEGER NOT NULL, conversions INTEGER NOT NULL, expires_at REAL NOT NULL,
  PRIMARY KEY (trial, part, version, role)
) WITHOUT ROWID;
PRAGMA user_version = 2;
""",
    3: """
ALTER TABLE impressions ADD COLUMN counts_in TEXT;
UPDATE impressions SET counts_in = json_array(
  json_extract(impression, '$[8]'), json_extract(impression, '$[3]'), json_extract(impression, '$[4]'),
  coalesce(json_extract(impression, '$[2]'), 'none'), json_extract(impression, '$[9]')
) WHERE json_extract(impression, '$[8]') IS NOT NULL;
CREATE TABLE store (id TEXT NOT NULL);
INSERT INTO store VALUES (lower(hex(randomblob(16))));
PRAGMA user_version = 3;
""",
}


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Opens the file of a store for writing; makes the file and its folder if they are missing.

    What is committed is on the disk (`synchronous = FULL`). Any thread may use the connection, one at a time.

    Args:
        path: The file.

    Raises:
        StoreUnavailable: If the file is none of this store, or a newer release wrote it.
        sqlite3.Error: If the file is locked or cannot be used.
        OSError: If the file cannot be made.
    """
    if not path.exists():
        _make_file(path)
    return _connect(path, "synchronous = FULL", "secure_delete = ON", f"wal_autocheckpoint = {CHECKPOINT_PAGES}")


def open_for_reading(path: Path) -> sqlite3.Connection | None:
    """Opens the file of a store for reading; returns None as long as the file is missing.

    Args:
        path: The file.

    Raises:
        StoreUnavailable: If the file is none of this store, or a newer release wrote it.
        sqlite3.Error: If the file cannot be used.
    """
    return _connect(path, "query_only = ON") if path.exists() else None


def read_json(connection: sqlite3.Connection, value: str, rows: str, *parameters: object) -> list[Any]:
    """Reads a value from each of some rows.

    SQLite returns all values as one JSON text: after each row that a statement returns, the thread waits for the GIL.
    The value must hold no REAL, because SQLite writes only 15 digits of it.

    Args:
        connection: The file.
        value: The value, such as `json_array(position, event)`.
        rows: The rows: what a SELECT statement has after FROM.
        parameters: The values of the parameters in `rows`.
    """
    statement = f"SELECT json_group_array({value}) FROM (SELECT * FROM {rows})"
    values: list[Any] = orjson.loads(connection.execute(statement, parameters).fetchone()[0])
    return values


def insert(connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[object]], ending: str = "") -> None:
    """Inserts rows with few statements.

    Args:
        connection: The file.
        statement: What stands before VALUES, such as `INSERT INTO users`.
        rows: The values of each row.
        ending: What stands after the values.
    """
    for some in chunks(rows):
        text = f"{statement} VALUES {', '.join([places(some[0])] * len(some))} {ending}"
        connection.execute(text, [value for row in some for value in row])


def chunks(rows: Sequence[ItemT]) -> list[Sequence[ItemT]]:
    """Divides rows into parts that one statement can take."""
    return [rows[begin : begin + ROWS_AT_ONCE] for begin in range(0, len(rows), ROWS_AT_ONCE)]


def places(values: Sequence[object]) -> str:
    """Returns the places of values in a statement, such as `(?, ?)`."""
    return f"({', '.join('?' * len(values))})"


def one_each(values: Sequence[object]) -> str:
    """Returns the places of values in a statement as rows of one value, such as `(?), (?)`."""
    return ", ".join(["(?)"] * len(values))


def _make_file(path: Path) -> None:
    """Makes the file of an empty store under another name, then gives it its name: nobody sees a part of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        made = Path(folder) / path.name
        with closing(sqlite3.connect(made)) as connection:
            connection.executescript(
                f"PRAGMA journal_mode = WAL; BEGIN; {SCHEMA} {' '.join(UPGRADES.values())} COMMIT;"
            )
        with suppress(FileExistsError):  # another process was faster
            path.hardlink_to(made)


def _connect(path: Path, *options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        for option in (f"cache_size = -{CACHE_KIB}", *options):
            connection.execute(f"PRAGMA {option}")
        if _version(connection) < SCHEMA_VERSION:
            _upgrade(path)
    except BaseException:
        connection.close()
        raise
    return connection


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'event_ids'").fetchone() == (0,):
        version = 0  # other software, which numbers its schemas too
    if not 0 < version <= SCHEMA_VERSION:
        raise StoreUnavailable(
            f"the file of the event store must have a schema from 1 to {SCHEMA_VERSION}, but has {version}: "
            + ("a newer release wrote it; update this service" if version else "other software wrote it; move it away")
            + ", or set another RQREC_DATA_DIR"
        )
    return version


def _upgrade(path: Path) -> None:
    """Brings a file that an older release wrote to the present schema. Of several processes, one does it."""
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for version in range(_version(connection) + 1, SCHEMA_VERSION + 1):
            for statement in UPGRADES[version].split(";"):  # executescript would commit first
                connection.execute(statement)
        connection.execute("COMMIT")
