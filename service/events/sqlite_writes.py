"""The statements that write to the SQLite file of the event store.

A statement reads or writes the rows of many calls, and returns one row at most: after each statement, and after each
row that it returns, the thread may wait 5 ms for the GIL.
"""

import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from rqrec.service.events.counting import NamedOutcome, named_outcomes
from rqrec.service.events.event import Event, Impression
from rqrec.service.events.packing import hash_event_id, pack_entry_without_time, pack_event, pack_impression
from rqrec.service.events.sqlite_file import chunks, insert, one_each, places, read_json
from rqrec.service.events.sqlite_outcomes import SqliteOutcomes, counts_in
from rqrec.service.events.store import AppendResult, StoreLimits

DELETED_AT_ONCE = 10_000  # records; more would keep other calls waiting
SWEEP_EVERY_S, SWEPT_ROWS, SWEPT_USERS = 1.0, 10_000, 100

DELETE_EXPIRED_IDS = """
DELETE FROM event_ids WHERE hash IN (SELECT hash FROM event_ids WHERE expires_at <= ? LIMIT ?)
"""
ADD_IMPRESSIONS = "INSERT INTO impressions (recommendation_id, user_id, at, impression, counts_in)"
DELETE_EXPIRED_IMPRESSIONS = """
DELETE FROM impressions WHERE recommendation_id IN (SELECT recommendation_id FROM impressions WHERE at <= ? LIMIT ?)
"""
# `{}` stands for the users. What comes before the last entries of each user goes; indexes hold all that is read.
DELETE_OLDEST_ENTRIES = """
WITH asked (value) AS (VALUES {}) DELETE FROM history WHERE (user_key, at_us, arrival) IN (
  SELECT user_key, at_us, arrival FROM asked JOIN history ON user_key = asked.value
  WHERE (at_us, arrival) <= (
    SELECT at_us, arrival FROM history WHERE user_key = asked.value ORDER BY at_us DESC, arrival DESC LIMIT 1 OFFSET ?))
"""
DELETE_OLDEST_IMPRESSIONS = """
WITH asked (value) AS (VALUES {}) DELETE FROM impressions WHERE recommendation_id IN (
  SELECT recommendation_id FROM asked JOIN impressions ON user_id = asked.value
  WHERE (at, recommendation_id) <= (
    SELECT at, recommendation_id FROM impressions
    WHERE user_id = asked.value ORDER BY at DESC, recommendation_id DESC LIMIT 1 OFFSET ?))
"""
ADD_ENTRIES = """
ON CONFLICT (user_id) DO UPDATE SET num_entries = num_entries + excluded.num_entries, expires_at = excluded.expires_at
"""
DELETE_RECORDS = """
DELETE FROM records WHERE position IN (SELECT position FROM records WHERE position <= ? ORDER BY position LIMIT ?)
"""
DELETE_EVENTS = """
DELETE FROM records WHERE position IN (
  SELECT position FROM records WHERE user_id = ? AND position < ? AND event IS NOT NULL LIMIT ?)
"""

ImpressionRows = Sequence[tuple[Impression, str]]


class EventRow(NamedTuple):
    """An event as the tables hold it.

    Attributes:
        hash: Hash of the event's user and id.
        user_id: Id of the user.
        event: The other fields of the event, packed.
        at_us: When it happened, in microseconds since 1970.
        entry: The entry of the history, packed; None if the event enters no history.
    """

    hash: bytes
    user_id: str
    event: str
    at_us: int
    entry: str | None


class EventRows(NamedTuple):
    """The events of a call.

    Attributes:
        rows: The events as the tables hold them.
        outcomes: The outcomes that they name.
    """

    rows: list[EventRow]
    outcomes: list[NamedOutcome]


class SqliteWrites:
    """The writing calls of a store. Each method runs several calls in the transaction of its caller.

    Args:
        limits: How much is kept, and for how long.
    """

    def __init__(self, limits: StoreLimits) -> None:
        self._limits = limits
        self._outcomes = SqliteOutcomes(limits)
        self._next_sweep = 0.0  # monotonic seconds

    def event_rows(self, events: Sequence[Event]) -> EventRows:
        """Returns events as the tables hold them, and the outcomes that they name.

        Args:
            events: The events.

        Raises:
            ValueError: If a number of an event is not finite, or a text is not valid Unicode.
        """
        rows = [
            EventRow(
                hash_event_id(event),
                event.user_id,
                pack_event(event),
                round(1e6 * event.at),
                pack_entry_without_time(event) if self._limits.enters_history(event.type) else None,
            )
            for event in events
        ]
        return EventRows(rows, named_outcomes(events, self._limits))

    def append(self, connection: sqlite3.Connection, calls: Sequence[EventRows]) -> list[AppendResult]:
        """Stores the events of some calls that were not stored before, and counts their outcomes.

        Args:
            connection: The file.
            calls: The events of each call.
        """
        now = time.time()
        self._sweep(connection, now)
        new_hashes = self._remember(connection, list({row.hash for call in calls for row in call.rows}), now)
        results, stored = list[AppendResult](), list[EventRow]()
        for rows, _ in calls:
            before = len(stored)
            for row in rows:
                if row.hash in new_hashes:
                    new_hashes.remove(row.hash)
                    stored.append(row)
            accepted = len(stored) - before
            results.append(AppendResult(accepted, len(rows) - accepted))
        self._store(connection, stored, now)
        self._outcomes.count_outcomes(connection, [one for call in calls for one in call.outcomes], now)
        return results

    def impression_rows(self, impressions: Sequence[Impression]) -> ImpressionRows:
        """Returns impressions with the text of each.

        Args:
            impressions: The impressions.

        Raises:
            ValueError: If a time is not finite, or a text is not valid Unicode.
        """
        return [(one, pack_impression(one)) for one in impressions]

    def add_impressions(self, connection: sqlite3.Connection, calls: Sequence[ImpressionRows]) -> Sequence[None]:
        """Stores and counts the impressions of some calls that were not stored before.

        Args:
            connection: The file.
            calls: The impressions of each call, each with its text.
        """
        now = time.time()
        self._sweep(connection, now)
        kept_since = now - self._limits.impression_ttl_s
        given = {one.recommendation_id: (one, text) for rows in calls for one, text in rows if one.at > kept_since}
        for some in chunks(list(given)):
            rows = f"impressions WHERE recommendation_id IN {places(some)}"
            for known in read_json(connection, "recommendation_id", rows, *some):
                del given[known]
        new = [one for one, _ in given.values()]
        insert(
            connection,
            ADD_IMPRESSIONS,
            [(one.recommendation_id, one.user_id, one.at, text, counts_in(one)) for one, text in given.values()],
        )
        self._outcomes.count_impressions(connection, new, now)
        for some in chunks(list({one.user_id for one in new if one.user_id is not None})):
            connection.execute(DELETE_OLDEST_IMPRESSIONS.format(one_each(some)), (*some, self._limits.user_impressions))
        return [None] * len(calls)

    def forget(self, connection: sqlite3.Connection, user_ids: Sequence[str]) -> list[int]:
        """Deletes all that is stored of some users but their events, and adds to the stream that they were forgotten.

        Args:
            connection: The file.
            user_ids: The users.

        Returns:
            For each user, the position of the record which says so.
        """
        positions = []
        for user_id in user_ids:
            _delete_users(connection, "user_id = ?", user_id)
            connection.execute("DELETE FROM impressions WHERE user_id = ?", (user_id,))
            position = _next_position(connection, time.time())
            connection.execute("INSERT INTO records (position, user_id) VALUES (?, ?)", (position, user_id))
            positions.append(position)
        return positions

    def drop_events(self, connection: sqlite3.Connection, calls: Sequence[tuple[str, int]]) -> list[bool]:
        """Deletes some of the events that users had before they were forgotten.

        Args:
            connection: The file.
            calls: For each call, the user and the position of the record which says that the user was forgotten.

        Returns:
            Whether there may be more to delete, for each call.
        """
        return [
            connection.execute(DELETE_EVENTS, (*call, DELETED_AT_ONCE)).rowcount == DELETED_AT_ONCE for call in calls
        ]

    def trim(self, connection: sqlite3.Connection, positions: Sequence[int]) -> list[bool]:
        """Deletes some of the records up to a position.

        Args:
            connection: The file.
            positions: The position of each call.

        Returns:
            Whether there may be more to delete, for each call.
        """
        deleted = connection.execute(DELETE_RECORDS, (max(positions), DELETED_AT_ONCE)).rowcount
        return [deleted == DELETED_AT_ONCE] * len(positions)

    def _remember(self, connection: sqlite3.Connection, hashes: Sequence[bytes], now: float) -> set[bytes]:
        """Remembers the ids of events, and returns those that were not remembered yet."""
        known = set[bytes]()
        for some in chunks(hashes):
            rows_known = f"event_ids WHERE hash IN {places(some)} AND expires_at > ?"
            found = read_json(connection, "hex(hash)", rows_known, *some, now)
            known.update(map(bytes.fromhex, found))
        rows = [(one, now + self._limits.event_id_ttl_s) for one in hashes if one not in known]
        insert(connection, "REPLACE INTO event_ids", rows)
        return {one for one, _ in rows}

    def _store(self, connection: sqlite3.Connection, rows: Sequence[EventRow], now: float) -> None:
        arrivals = list(enumerate(rows, _next_position(connection, now)))
        insert(connection, "INSERT INTO records", [(arrival, row.user_id, row.event) for arrival, row in arrivals])
        entries = [(arrival, row) for arrival, row in arrivals if row.entry is not None]
        users = self._add_users(connection, Counter(row.user_id for _, row in entries), now)
        keyed = [(users[row.user_id][0], row.at_us, arrival, row.entry) for arrival, row in entries]
        insert(connection, "INSERT INTO history", keyed)
        most = self._limits.user_history
        for some in chunks([key for key, num_entries in users.values() if num_entries > most]):
            connection.execute(DELETE_OLDEST_ENTRIES.format(one_each(some)), (*some, most))
            connection.execute(f"UPDATE users SET num_entries = ? WHERE user_key IN {places(some)}", (most, *some))

    def _add_users(self, connection: sqlite3.Connection, added: Counter[str], now: float) -> dict[str, tuple[int, int]]:
        """Adds users, or entries to them, and returns the key and the number of entries of each."""
        users = dict[str, tuple[int, int]]()
        rows = [(user_id, number, now + self._limits.user_ttl_s) for user_id, number in added.items()]
        for some in chunks(rows):
            names = [user_id for user_id, _, _ in some]
            _delete_users(connection, f"expires_at <= ? AND user_id IN {places(names)}", now, *names)
            insert(connection, "INSERT INTO users (user_id, num_entries, expires_at)", some, ADD_ENTRIES)
            columns = "json_array(user_id, user_key, num_entries)"
            found = read_json(connection, columns, f"users WHERE user_id IN {places(names)}", *names)
            users |= {user_id: (user_key, num_entries) for user_id, user_key, num_entries in found}
        return users

    def _sweep(self, connection: sqlite3.Connection, now: float) -> None:
        """Deletes some of what has expired. The rest waits for the next time; nobody sees it until then."""
        if time.monotonic() < self._next_sweep:
            return
        self._next_sweep = time.monotonic() + SWEEP_EVERY_S
        connection.execute(DELETE_EXPIRED_IDS, (now, SWEPT_ROWS))
        connection.execute(DELETE_EXPIRED_IMPRESSIONS, (now - self._limits.impression_ttl_s, SWEPT_ROWS))
        self._outcomes.sweep(connection, now, SWEPT_ROWS)
        expired = "user_key IN (SELECT user_key FROM users WHERE expires_at <= ? LIMIT ?)"
        _delete_users(connection, expired, now, SWEPT_USERS)


def _next_position(connection: sqlite3.Connection, now: float) -> int:
    """Returns the position of the next record: microseconds since 1970, and after all that the table ever held.

    So the positions of a new file, or of an older copy that was restored, come after those that were exported before.
    """
    (last,) = connection.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'records'").fetchone()
    return max((last or 0) + 1, int(1e6 * now))


def _delete_users(connection: sqlite3.Connection, condition: str, *values: object) -> None:
    """Deletes the users that fulfil a condition, with their histories."""
    entries = f"DELETE FROM history WHERE user_key IN (SELECT user_key FROM users WHERE {condition})"
    connection.execute(entries, values)
    connection.execute(f"DELETE FROM users WHERE {condition}", values)
