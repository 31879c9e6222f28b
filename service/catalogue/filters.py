"""Filters on item attributes: the items that a request's conditions leave, kept in a bounded cache.

What the conditions say of the bundle's items and of a written row never changes. So after a write only the new rows are
looked at.

Shapes: N leaves, S written rows and added places.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from reprlib import repr as shortened
from threading import Lock
from typing import NamedTuple, cast

import numpy as np
import polars as pl
from cachetools import LRUCache
from polars import selectors

from rqrec.models.array_types import BoolArray
from rqrec.models.growing_array import GrowingArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.service.catalogue.item import frame_of, is_unicode
from rqrec.service.catalogue.item_table import ItemTable
from rqrec.service.contract import MAX_FILTER_VALUES, Condition, Scalar
from rqrec.service.errors import InvalidPart
from rqrec.service.telemetry import Metrics

CACHE_TIER = "filter"
LARGEST_INTEGER = 2**127 - 1
KEY_BYTES = 20
BYTES_BESIDE_ARRAYS = 2048  # of an answer: objects, the key, the cache's own

Prepare = Callable[[Eligibility], Eligibility]


class InvalidFilter(InvalidPart):
    """A filter that this catalogue cannot answer; its place is an attribute and, where it is one, an operator."""

    within = ("filter",)


class _Answer(NamedTuple):
    """What is known of a filter.

    Attributes:
        meets_N: Which of the bundle's items meet it, by leaf.
        meets_S: Which of the first rows do.
        lineage: Whose rows these are (see `GrowingArray`).
        state: That of the table that the eligibility is of, and
        leaf_state: that of its leaves.
        eligibility: The items that meet it.
    """

    meets_N: BoolArray
    meets_S: BoolArray
    lineage: object
    state: object
    leaf_state: object
    eligibility: Eligibility

    @property
    def nbytes(self) -> int:
        return self.meets_N.nbytes + self.meets_S.nbytes + self.eligibility.nbytes + BYTES_BESIDE_ARRAYS


class _Shared:
    """What the filters of all states of a catalogue have in common: the bundle's attributes, and the answers."""

    def __init__(self, items: pl.DataFrame, metrics: Metrics, cache_bytes: int) -> None:
        self.items = items
        self.written = _WrittenAttributes(items.schema)
        self.metrics = metrics
        self.lock = Lock()
        self.answers: LRUCache[bytes, _Answer] = LRUCache(cache_bytes, getsizeof=lambda answer: answer.nbytes)


class Filters:
    """Answers filters over one state of a catalogue.

    Args:
        items: The bundle's items by the rows that the trie's leaves name, with their attributes as payloads show them.
        table: The state.
        metrics: Counts hits and misses of the cache.
        cache_bytes: Memory that answered filters may take; the least recently used ones go first.
        prepare: Adds to an answer what makes requests with it quick.
    """

    def __init__(
        self,
        items: pl.DataFrame,
        table: ItemTable,
        metrics: Metrics,
        *,
        cache_bytes: int,
        prepare: Prepare = lambda eligibility: eligibility,
    ) -> None:
        by_leaf = items[table.trie.row_of_leaf_N]
        self._shared = _Shared(by_leaf, metrics, cache_bytes)
        self._table, self._prepare = table, prepare

    def with_table(self, table: ItemTable, prepare: Prepare) -> "Filters":
        """The filters of another state of the same catalogue."""
        other = Filters.__new__(Filters)
        other._shared, other._table, other._prepare = self._shared, table, prepare
        return other

    @property
    def schema(self) -> pl.Schema:
        """item_id and the attributes, by the type of their values."""
        return self._shared.items.schema

    @property
    def cached_bytes(self) -> int:
        """Memory that answered filters take."""
        return int(self._shared.answers.currsize)

    def eligibility(self, conditions: Mapping[str, Condition]) -> Eligibility:
        """The items that meet every condition.

        An attribute that is missing from an item meets no condition but `none_of`. Of a list, one value is enough.

        Raises:
            InvalidFilter: If an attribute is unknown, or holds another type than the condition's.
        """
        key = filter_key(conditions)
        answer = self.cached(key)
        return answer if answer is not None else self.work_out(key, conditions)

    def cached(self, key: bytes) -> Eligibility | None:
        """The answer to a filter of that key if it is at hand; quick."""
        with self._shared.lock:
            answer = self._shared.answers.get(key)
        is_hit = answer is not None and answer.state is self._table.state
        self._shared.metrics.cache_requests.labels(CACHE_TIER, "hit" if is_hit else "miss").inc()
        return answer.eligibility if is_hit and answer is not None else None

    def work_out(self, key: bytes, conditions: Mapping[str, Condition]) -> Eligibility:
        """Answers a filter and keeps the answer; takes time in proportion to the catalogue, best in a thread.

        Args:
            key: Its `filter_key`.
            conditions: The filter.

        Raises:
            InvalidFilter: If an attribute is unknown, or holds another type than the condition's.
        """
        shared, table = self._shared, self._table
        passes = pl.all_horizontal(pl.lit(value=True), *self._tests(conditions))
        with shared.lock:
            known = shared.answers.get(key)
        meets_N = known.meets_N if known is not None else _meeting(shared.items, passes)
        lineage = table.rows.lineage
        meets_S = known.meets_S[: len(table.rows)] if known is not None and known.lineage is lineage else meets_N[:0]
        if len(meets_S) < len(table.rows):
            meets_S = np.concatenate([meets_S, _meeting(shared.written.since(len(meets_S), table.rows), passes)])
        added_S = meets_S & table.is_there.rows
        if known is not None and known.leaf_state is table.leaf_state:
            eligibility = known.eligibility.with_added(added_S, int(np.count_nonzero(added_S)))
        else:
            row_of_leaf_N, leaves_N = table.row_of_leaf_N, np.arange(table.trie.num_leaves)
            mask_N = meets_N & (table.place_of_leaf_N == leaves_N)
            written = row_of_leaf_N >= 0
            mask_N[written] = meets_S[row_of_leaf_N[written]]
            eligibility = Eligibility.from_mask(table.trie, mask_N, added_S)
        answer = _Answer(meets_N, meets_S, lineage, table.state, table.leaf_state, self._prepare(eligibility))
        with shared.lock:
            if answer.nbytes <= shared.answers.maxsize:
                shared.answers[key] = answer
        return answer.eligibility

    def _tests(self, conditions: Mapping[str, Condition]) -> list[pl.Expr]:
        count = 0
        for name, condition in conditions.items():
            for operator, values in (("any_of", condition.any_of), ("none_of", condition.none_of)):
                count += len(values or ())
                if count > MAX_FILTER_VALUES:
                    raise InvalidFilter((name, operator), f"a filter has at most {MAX_FILTER_VALUES} values in all")
        return [test for name, condition in conditions.items() for test in self._tests_of(name, condition)]

    def _tests_of(self, name: str, condition: Condition) -> list[pl.Expr]:
        if name not in self.schema:
            raise InvalidFilter((name,), f"unknown attribute; the catalogue's are {sorted(self.schema)}")
        # By exactly this name: pl.col reads names such as "*" as patterns.
        attribute, kind = selectors.by_name(name).as_expr(), self.schema[name]
        value_kind = cast("pl.DataType", kind.inner) if isinstance(kind, pl.List) else kind
        tests = []
        for operator, values in (("any_of", condition.any_of), ("none_of", condition.none_of)):
            if values is None:
                continue
            for value in values:
                _check(value, value_kind, (name, operator))
            wanted = _wanted(values, value_kind)
            if isinstance(kind, pl.List):
                meets = attribute.list.eval(pl.element().cast(wanted.dtype).is_in(wanted.implode())).list.any()
            else:
                meets = attribute.cast(wanted.dtype).is_in(wanted.implode())
            meets = meets.fill_null(value=False)
            tests.append(meets if operator == "any_of" else ~meets)
        for operator, bound in (("gte", condition.gte), ("lte", condition.lte)):
            if bound is None:
                continue
            if not kind.is_numeric():
                raise InvalidFilter((name, operator), f"{name!r} holds no numbers: use any_of or none_of")
            tests.append(_within(attribute, kind, operator, bound).fill_null(value=False))
        return tests


class _WrittenAttributes:
    """The attributes of written rows as a frame, made when a filter asks for them."""

    def __init__(self, schema: pl.Schema) -> None:
        self._schema = schema
        self._lock = Lock()
        self._lineage: object = None
        self._chunks: list[pl.DataFrame] = []

    def since(self, begin: int, rows: GrowingArray[np.object_]) -> pl.DataFrame:
        """The attributes of the rows from one on."""
        with self._lock:
            if self._lineage is not rows.lineage:
                self._lineage, self._chunks = rows.lineage, [frame_of([], self._schema)]
            chunks = self._chunks
            if (count := sum(map(len, chunks))) < len(rows):
                chunks.append(frame_of(rows.rows[count:].tolist(), self._schema))
            while len(chunks) > 1 and 2 * len(chunks[-1]) >= len(chunks[-2]):  # each row is copied few times
                chunks[-2:] = [pl.concat(chunks[-2:], rechunk=True)]
            return pl.concat(chunks).slice(begin, len(rows) - begin)


def filter_key(conditions: Mapping[str, Condition]) -> bytes:
    """The same for filters that say the same, of a few bytes however long the filter is; quick."""
    said = sorted(
        (name, _said(one.any_of), _said(one.none_of), repr(one.gte), repr(one.lte)) for name, one in conditions.items()
    )
    return blake2b(repr(said).encode(), digest_size=KEY_BYTES).digest()


def _said(values: Sequence[Scalar] | None) -> list[str] | None:
    """Values in any order, each once; as texts, for True is not 1 here."""
    return None if values is None else sorted(set(map(repr, values)))


def _meeting(items: pl.DataFrame, passes: pl.Expr) -> BoolArray:
    return np.asarray(items.select(passes).to_series().to_numpy())


def _within(attribute: pl.Expr, kind: pl.DataType, operator: str, bound: float) -> pl.Expr:
    """Compares exactly: a float64 does not hold every integer."""
    if kind.is_integer():
        whole = math.ceil(bound) if operator == "gte" else math.floor(bound)
        whole = max(min(whole, LARGEST_INTEGER), -LARGEST_INTEGER)
        attribute, limit = attribute.cast(pl.Int128), pl.lit(whole, dtype=pl.Int128)
    else:
        limit = pl.lit(float(bound), dtype=pl.Float64)
    return attribute >= limit if operator == "gte" else attribute <= limit


def _wanted(values: Sequence[Scalar], kind: pl.DataType) -> pl.Series:
    """Values in a type that compares exactly with the attribute's; those that it cannot hold match nothing."""
    if kind.is_integer():
        whole = [int(value) for value in values if not isinstance(value, str) and value == value // 1]
        return pl.Series([value for value in whole if abs(value) <= LARGEST_INTEGER], dtype=pl.Int128)
    if kind.is_numeric():
        numbers = [(value, float(value)) for value in values if abs(value) <= sys.float_info.max]  # type: ignore[arg-type]
        return pl.Series([number for value, number in numbers if number == value], dtype=pl.Float64)
    if kind == pl.Boolean:
        return pl.Series(values, dtype=pl.Boolean)
    return pl.Series([str(value) for value in values if is_unicode(str(value))], dtype=pl.String)


def _check(value: Scalar, kind: pl.DataType, place: tuple[str, ...]) -> None:
    expected: tuple[type, ...]
    if kind.is_numeric():
        expected, name = (int, float), "numbers"
    elif kind == pl.Boolean:
        expected, name = (bool,), "true or false"
    elif kind == pl.String:
        expected, name = (str,), "strings"
    else:
        raise InvalidFilter(place, f"{place[0]!r} holds neither strings nor numbers nor true or false: leave it out")
    if not isinstance(value, expected) or (isinstance(value, bool) and kind != pl.Boolean):
        raise InvalidFilter(place, f"{place[0]!r} holds {name}, got {shortened(value)}")
