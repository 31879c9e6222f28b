"""Counts what came of impressions in the SQLite file of the event store."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import orjson

from rqrec.service.events.counting import ANYBODY, NamedOutcome, surface_of, user_mark
from rqrec.service.events.event import Impression
from rqrec.service.events.sqlite_file import chunks, insert, places, read_json
from rqrec.service.events.store import EARLY_OUTCOME_S, StoreLimits
from rqrec.service.outcomes.outcome_counts import (
    MAX_SURFACES,
    OTHER_SURFACE,
    Arm,
    Cell,
    OutcomeCounts,
    OutcomeKind,
    Outcomes,
)

BITS = {OutcomeKind.CLICKS: 1, OutcomeKind.CONVERSIONS: 2}
ADD_COUNTS = """
ON CONFLICT (trial, part, version, role) DO UPDATE SET impressions = impressions + excluded.impressions,
  clicks = clicks + excluded.clicks, conversions = conversions + excluded.conversions, expires_at = excluded.expires_at
"""
SURFACES = "(SELECT DISTINCT part FROM trial_counts WHERE trial = ? AND part < '0')"  # a surface begins with a quote
IS_KEPT = "trial IN (SELECT trial FROM trial_counts WHERE expires_at > ?)"


class CountsIn(NamedTuple):
    """Where an impression counts.

    Attributes:
        trial: The trial.
        version: Version of the model that made the list.
        role: The role of this model.
        surface: The name under which the surface is counted.
        bucket: The bucket of the user.
    """

    trial: int
    version: str
    role: str
    surface: str
    bucket: int


class Outcome(NamedTuple):
    """One thing that came of a stored impression: that it was shown, or a kind of outcome."""

    recommendation_id: str
    counts_in: CountsIn
    kind: OutcomeKind | None


def counts_in(impression: Impression) -> str | None:
    """Returns where an impression counts, as JSON; None if it counts nowhere."""
    found = _counts_in(impression)
    return None if found is None else orjson.dumps(tuple(found)).decode()


def read_counts(connection: sqlite3.Connection, trial: int, now: float) -> OutcomeCounts:
    """Returns the counts of a trial.

    Args:
        connection: The file.
        trial: The trial.
        now: The present time, in seconds since 1970.
    """
    columns = "json_array(version, role, json(part), impressions, clicks, conversions)"
    found = read_json(connection, columns, f"trial_counts WHERE trial = ? AND {IS_KEPT}", trial, now)
    return OutcomeCounts.merged(
        (Cell(Arm(version, role), part), Outcomes(*counts)) for version, role, part, *counts in found
    )


class SqliteOutcomes:
    """Counts impressions and their outcomes. Each method belongs to the transaction of its caller.

    Args:
        limits: How much is kept, and for how long.
    """

    def __init__(self, limits: StoreLimits) -> None:
        self._limits = limits

    def count_impressions(self, connection: sqlite3.Connection, impressions: Sequence[Impression], now: float) -> None:
        """Counts impressions, and the outcomes that came before them.

        Args:
            connection: The file.
            impressions: The impressions, which were stored a moment ago, and not before.
            now: The present time, in seconds since 1970.
        """
        found = ((one, _counts_in(one)) for one in impressions)
        counted = [(one, place) for one, place in found if place is not None]
        if not counted:
            return
        early = self._early(connection, counted, now)
        self._flag(connection, early)
        self._add(connection, [*(Outcome(one.recommendation_id, place, None) for one, place in counted), *early], now)

    def count_outcomes(self, connection: sqlite3.Connection, named: Sequence[NamedOutcome], now: float) -> None:
        """Counts outcomes that were not counted before; those without an impression wait for it.

        Args:
            connection: The file.
            named: The outcomes.
            now: The present time, in seconds since 1970.
        """
        found: dict[str, tuple[str | None, CountsIn | None, int]] = {}
        kept_since = now - self._limits.impression_ttl_s
        for some in chunks(list({one.recommendation_id for one in named})):
            rows = f"impressions WHERE recommendation_id IN {places(some)} AND at > ?"
            columns = "json_array(recommendation_id, user_id, json(counts_in), outcomes)"
            for name, user_id, place, bits in read_json(connection, columns, rows, *some, kept_since):
                found[name] = (user_id, place and CountsIn(*place), bits)
        outcomes, early = dict[tuple[str, OutcomeKind], Outcome](), list[tuple[str, str, int, float]]()
        for name, user_id, kind in named:
            if name not in found:
                expires_at = now + EARLY_OUTCOME_S
                early += [(name, mark, BITS[kind], expires_at) for mark in (ANYBODY, user_mark(name, user_id))]
                continue
            owner, place, bits = found[name]
            if place is not None and owner in {None, user_id} and not bits & BITS[kind]:
                outcomes[name, kind] = Outcome(name, place, kind)
        insert(connection, "REPLACE INTO early_outcomes", early)
        self._flag(connection, outcomes.values())
        self._add(connection, list(outcomes.values()), now)

    def sweep(self, connection: sqlite3.Connection, now: float, most: int) -> None:
        """Deletes some of what has expired.

        Args:
            connection: The file.
            now: The present time, in seconds since 1970.
            most: Most early outcomes to delete.
        """
        expired = "SELECT recommendation_id, mark, bit FROM early_outcomes WHERE expires_at <= ? LIMIT ?"
        connection.execute(
            f"DELETE FROM early_outcomes WHERE (recommendation_id, mark, bit) IN ({expired})", (now, most)
        )
        connection.execute(f"DELETE FROM trial_counts WHERE NOT {IS_KEPT}", (now,))

    def _early(
        self, connection: sqlite3.Connection, impressions: Sequence[tuple[Impression, CountsIn]], now: float
    ) -> list[Outcome]:
        """Returns the outcomes that waited for impressions."""
        marked = {
            (one.recommendation_id, user_mark(one.recommendation_id, one.user_id)): place for one, place in impressions
        }
        found = list[Outcome]()
        for some in chunks(list(marked)):
            keys = f"(VALUES {', '.join(['(?, ?)'] * len(some))})"
            rows = f"early_outcomes WHERE (recommendation_id, mark) IN {keys} AND expires_at > ?"
            values = [value for key in some for value in key]
            for name, mark, bit in read_json(
                connection, "json_array(recommendation_id, mark, bit)", rows, *values, now
            ):
                found += [Outcome(name, marked[name, mark], kind) for kind in BITS if BITS[kind] == bit]
        return found

    def _flag(self, connection: sqlite3.Connection, outcomes: Iterable[Outcome]) -> None:
        """Notes at impressions which of their outcomes are counted."""
        flagged = list(outcomes)
        for kind, bit in BITS.items():
            for some in chunks([one.recommendation_id for one in flagged if one.kind is kind]):
                statement = f"UPDATE impressions SET outcomes = outcomes | ? WHERE recommendation_id IN {places(some)}"
                connection.execute(statement, (bit, *some))

    def _add(self, connection: sqlite3.Connection, outcomes: Sequence[Outcome], now: float) -> None:
        """Adds to the counts."""
        labels: dict[int, set[str]] = {}
        added: dict[tuple[object, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
        for _, (trial, version, role, surface, bucket), kind in outcomes:
            if trial not in labels:
                labels[trial] = set(map(orjson.loads, read_json(connection, "part", SURFACES, trial)))
            for part in (_label(labels[trial], surface), bucket):
                cell = (trial, orjson.dumps(part).decode(), version, role)
                added[cell][0 if kind is None else BITS[kind]] += 1
        expires_at = now + self._limits.counts_ttl_s
        insert(
            connection,
            "INSERT INTO trial_counts",
            [(*cell, *numbers, expires_at) for cell, numbers in added.items()],
            ADD_COUNTS,
        )


def _counts_in(impression: Impression) -> CountsIn | None:
    if impression.trial is None:
        return None
    one = impression
    return CountsIn(impression.trial, one.model_version, one.role, surface_of(one), one.bucket)


def _label(known: set[str], surface: str) -> str:
    """Returns the surface whose counts an impression changes, and adds it to those that are known."""
    if surface not in known and len(known - {OTHER_SURFACE}) >= MAX_SURFACES:
        return OTHER_SURFACE
    known.add(surface)
    return surface
