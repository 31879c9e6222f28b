"""The queries of the SQLite file of the event store. Each returns one row, see `read_json`."""

import sqlite3
import time
from collections.abc import Sequence

import orjson

from rqrec.service.events.event import HistoryEntry, Impression, RecordPage, UserPage
from rqrec.service.events.packing import unpack_event, unpack_impression, unpack_record
from rqrec.service.events.sqlite_file import read_json

# The entries and the times of each user, latest first. `{}` stands for the users, with their places in the answer.
# Joining texts takes a third of the time of `json_group_array`.
LAST_ENTRIES = """
WITH asked (place, user_id) AS (VALUES {}) SELECT '[' || group_concat(last_entries) || ']' FROM (
  SELECT (
    SELECT '[[' || coalesce(group_concat(entry), '') || '],[' || coalesce(group_concat(at_us), '') || ']]' FROM (
      SELECT entry, at_us FROM history
      WHERE user_key = (SELECT user_key FROM users WHERE users.user_id = asked.user_id AND expires_at > ?)
      ORDER BY at_us DESC, arrival DESC LIMIT ?)
  ) AS last_entries FROM asked ORDER BY place)
"""


def read_histories(connection: sqlite3.Connection, user_ids: Sequence[str], limit: int) -> list[list[HistoryEntry]]:
    """Returns the last entries of users' histories, oldest first.

    Args:
        connection: The file.
        user_ids: Ids of the users, at least one.
        limit: Most entries to return of each history; negative for all.
    """
    statement = LAST_ENTRIES.format(", ".join(f"({place}, ?)" for place in range(len(user_ids))))
    histories = orjson.loads(connection.execute(statement, (*user_ids, time.time(), limit)).fetchone()[0])
    return [
        [
            HistoryEntry(item_id, event_type, at_us / 1e6)
            for (item_id, event_type), at_us in zip(reversed(entries), reversed(times_us), strict=True)
        ]
        for entries, times_us in histories
    ]


def read_impression(connection: sqlite3.Connection, recommendation_id: str, since: float) -> Impression | None:
    """Returns the impression of a recommendation; None if there is none.

    Args:
        connection: The file.
        recommendation_id: Id of the recommendation.
        since: The time of the oldest impression that has not expired, in seconds since 1970.
    """
    found = read_json(
        connection, "impression", "impressions WHERE recommendation_id = ? AND at >= ?", recommendation_id, since
    )
    return unpack_impression(found[0]) if found else None


def read_shown(connection: sqlite3.Connection, user_id: str, since: float) -> list[Impression]:
    """Returns what a user was shown, oldest first.

    Args:
        connection: The file.
        user_id: Id of the user.
        since: The time of the oldest impression to return, in seconds since 1970.
    """
    rows = "impressions WHERE user_id = ? AND at >= ? ORDER BY at, recommendation_id"
    return [unpack_impression(text) for text in read_json(connection, "impression", rows, user_id, since)]


def read_user(connection: sqlite3.Connection, user_id: str, since: float, after: int, limit: int) -> UserPage:
    """Returns a page of what is stored of a user.

    Args:
        connection: The file.
        user_id: Id of the user.
        since: The time of the oldest impression that has not expired, in seconds since 1970.
        after: The position before the first event of the page; 0 for the first page.
        limit: Most events of the page.
    """
    connection.execute("BEGIN")  # all queries see the same moment
    try:
        rows = "records WHERE user_id = ? AND position > ? AND event IS NOT NULL ORDER BY position LIMIT ?"
        found = read_json(connection, "json_array(position, event)", rows, user_id, after, limit + 1)
        return UserPage(
            history=[] if after else read_histories(connection, [user_id], -1)[0],
            events=[unpack_event(user_id, text) for _, text in found[:limit]],
            impressions=[] if after else read_shown(connection, user_id, since),
            next_after=str(found[limit - 1][0]) if len(found) > limit else None,
        )
    finally:
        connection.execute("COMMIT")


def read_records(connection: sqlite3.Connection, position: int, limit: int) -> RecordPage:
    """Returns the next records of the stream.

    Args:
        connection: The file.
        position: The position before the first of the records.
        limit: Most records to return.
    """
    rows = "records WHERE position > ? ORDER BY position LIMIT ?"
    found = read_json(connection, "json_array(position, user_id, event)", rows, position, limit)
    records = [unpack_record(user_id, event) for _, user_id, event in found]
    return RecordPage(records, str(found[-1][0] if found else position))


def read_store_id(connection: sqlite3.Connection) -> str:
    """Returns the id of the store."""
    store_id: str = connection.execute("SELECT id FROM store").fetchone()[0]
    return store_id


def read_size(connection: sqlite3.Connection) -> int:
    """Returns how many records the stream holds."""
    size: int = connection.execute("SELECT count(*) FROM records").fetchone()[0]
    return size
