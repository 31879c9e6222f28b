"""Opens the SQLite file of the event store.

Tables:

- `records` is the stream: one row for each event, and one without an event for each user who was forgotten.
- `event_ids` holds hashes of the ids of recent events, which tell whether an event was stored before.
- `users` and `history` hold the histories; `users.num_entries` is the number of rows in `history`.
- `impressions` holds the lists that were shown.
"""

import sqlite3
from pathlib import Path
from typing import Any

import orjson

from rqrec.service.errors import StoreUnavailable

SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 5.0  # longest wait for another process that writes
CHECKPOINT_PAGES = 4000  # pages of 4 KiB in the write-ahead log, before they are copied to the main file
CACHE_KIB = 16 << 10
SCHEMA = f"""
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
PRAGMA user_version = {SCHEMA_VERSION};
"""


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Opens the file of a store for writing; makes the file and its folder if they are missing.

    What is committed is on the disk (`synchronous = FULL`). Any thread may use the connection, one at a time.

    Args:
        path: The file.

    Raises:
        StoreUnavailable: If a newer release wrote the file.
        sqlite3.Error: If the file is locked or cannot be used.
        OSError: If the folder cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = _connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")  # what is forgotten is overwritten
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute("BEGIN IMMEDIATE")
        if not _schema_version(connection):
            for statement in SCHEMA.split(";"):
                connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection | None:
    """Opens the file of a store for reading; returns None as long as there is no store in the file.

    Args:
        path: The file.

    Raises:
        StoreUnavailable: If a newer release wrote the file.
        sqlite3.Error: If the file cannot be used.
    """
    if not path.exists():
        return None
    connection = _connect(path)
    try:
        if _schema_version(connection):
            connection.execute("PRAGMA query_only = ON")
            return connection
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None


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


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return connection


def _schema_version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise StoreUnavailable(
            f"the file of the event store has the schema {version}, but this release knows schemas up to "
            f"{SCHEMA_VERSION}: a newer release wrote it; update this service, or set another RQREC_DATA_DIR"
        )
    return version
