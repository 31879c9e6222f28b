"""Filters over item attributes: finds the items that meet a request's conditions, and caches the result.

Every write of an item adds a row to the catalogue's item table. The content of the bundle's items and of these rows
never changes. So if the result of a filter is cached, only the rows added since then are checked after a write.

Shapes: N leaves of the trie, one for each item of the bundle (the published model); S written rows.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from threading import Lock
from typing import NamedTuple

import numpy as np
import polars as pl
from cachetools import LRUCache

from rqrec.models.array_types import BoolArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.service.catalogue.filter_conditions import FilterTerm, compile_filter
from rqrec.service.catalogue.item_table import NO_ROW, ItemTable
from rqrec.service.catalogue.written_attributes import WrittenAttributes
from rqrec.service.contract.filter import Condition, Scalar
from rqrec.service.telemetry import Metrics

CACHE_TIER = "filter"
KEY_BYTES = 20
BYTES_BESIDE_ARRAYS = 2048  # of a cached answer: its objects, its key and the cache's own memory

Prepare = Callable[[Eligibility], Eligibility]


class _Answer(NamedTuple):
    """A cached answer to a filter.

    Attributes:
        meets_N: Which items of the bundle meet the conditions, by leaf.
        meets_S: Which of the rows written so far meet the conditions.
        lineage: Identifies the rows of `meets_S`, see `GrowingArray.lineage`.
        state: The `ItemTable.state` of the eligibility.
        leaf_state: The `ItemTable.leaf_state` of the eligibility.
        eligibility: The items that meet the conditions.
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
    """The shared part of the filters of all states: the attributes of the bundle, and the cached answers."""

    def __init__(self, items: pl.DataFrame, metrics: Metrics, cache_bytes: int) -> None:
        self.items = items
        self.written = WrittenAttributes(items.schema)
        self.metrics = metrics
        self.lock = Lock()
        self.answers: LRUCache[bytes, _Answer] = LRUCache(cache_bytes, getsizeof=lambda answer: answer.nbytes)


class Filters:
    """Finds the items of one state of the catalogue that meet a request's conditions. Results are cached.

    Args:
        items: The items of the bundle (the published model), in the order of the bundle: `item_id` and the attributes.
            `as_shown` has converted their numbers to those that clients see.
        table: The items of this state of the catalogue.
        metrics: Counts the hits and misses of the cache.
        cache_bytes: Memory for cached results, in bytes; the least recently used results are removed first.
        prepare: Function that gets the result of a filter before it is cached. It adds to the result what every search
            with this filter needs, such as the most popular of the items. In the service it is the method
            `Recommender.prepared` of this state. By default it adds nothing.
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
        self._shared = _Shared(items, metrics, cache_bytes)
        self._table, self._prepare = table, prepare

    def with_table(self, table: ItemTable, prepare: Prepare) -> "Filters":
        """Returns the filters of another state of the same catalogue. They use the same cache.

        Args:
            table: The items of the other state.
            prepare: `Recommender.prepared` of the other state. It adds to the result of a filter what every search with
                this filter needs.
        """
        other = Filters.__new__(Filters)
        other._shared, other._table, other._prepare = self._shared, table, prepare
        return other

    @property
    def schema(self) -> pl.Schema:
        """The polars type of `item_id` and of each attribute of the catalogue's items, by name."""
        return self._shared.items.schema

    @property
    def bundle_items(self) -> pl.DataFrame:
        """The attributes of the bundle's items as they were published, in the order of the bundle."""
        return self._shared.items

    def written_items(self) -> pl.DataFrame:
        """Returns the attributes of the written rows of this state, in their order. Call it in a thread."""
        return self._shared.written.since(0, self._table.rows)

    def present_items(self) -> pl.DataFrame:
        """Returns the attributes of all items of this state, in no particular order. Call it in a thread.

        The frame is made anew by each call if items were written or deleted since the model was published.
        """
        table = self._table
        row_P = table.rows_of(table.places)
        is_written_P = row_P != NO_ROW
        if table.num_occupied_leaves == table.trie.num_leaves and not is_written_P.any():
            return self.bundle_items
        published: pl.DataFrame = self.bundle_items[table.trie.row_of_leaf_N[table.places[~is_written_P]]]
        return published.vstack(self.written_items()[row_P[is_written_P]])

    @property
    def cached_bytes(self) -> int:
        """The memory that the cached results of filters take now, in bytes, for all states of the catalogue."""
        return int(self._shared.answers.currsize)

    def eligibility(self, conditions: Mapping[str, Condition], further: Sequence[FilterTerm] = ()) -> Eligibility:
        """Finds the items that meet every condition; see `compile_conditions` for nulls and lists.

        Args:
            conditions: The conditions, by the name of the attribute.
            further: Terms that the items must pass too.

        Raises:
            InvalidFilter: If an attribute is unknown, its type does not fit its condition, or the filter has too many
                values.
        """
        key = filter_key(conditions, further)
        answer = self.cached(key)
        return answer if answer is not None else self.compute(key, conditions, further)

    def cached(self, key: bytes) -> Eligibility | None:
        """Returns the cached result of a filter for this state of the catalogue, or None if there is none.

        This is so fast that it may be called on the event loop.

        Args:
            key: The `filter_key` of the filter's conditions.
        """
        with self._shared.lock:
            answer = self._shared.answers.get(key)
        is_hit = answer is not None and answer.state is self._table.state
        self._shared.metrics.cache_requests.labels(CACHE_TIER, "hit" if is_hit else "miss").inc()
        return answer.eligibility if is_hit and answer is not None else None

    def compute(
        self, key: bytes, conditions: Mapping[str, Condition], further: Sequence[FilterTerm] = ()
    ) -> Eligibility:
        """Finds the items that meet every condition, and caches the result.

        The time grows with the size of the catalogue, so this must be called in a thread.

        Args:
            key: The `filter_key` of the conditions and the further terms.
            conditions: The conditions, by the name of the attribute.
            further: Terms that the items must pass too.

        Raises:
            InvalidFilter: If an attribute is unknown, its type does not fit its condition, or the filter has too many
                values.
        """
        shared, table = self._shared, self._table
        passes = compile_filter(conditions, further, self.schema)
        with shared.lock:
            known = shared.answers.get(key)
        rows_N = table.trie.row_of_leaf_N
        meets_N = known.meets_N if known is not None else _rows_that_pass(shared.items, passes)[rows_N]
        meets_S = self._written_that_pass(known, passes)
        added_S = meets_S & table.is_occupied.rows
        if known is not None and known.leaf_state is table.leaf_state:
            eligibility = known.eligibility.with_added(added_S, int(np.count_nonzero(added_S)))
        else:
            eligibility = Eligibility.from_mask(table.trie, _mask(table, meets_N, meets_S), added_S)
        lineage = table.rows.lineage
        answer = _Answer(meets_N, meets_S, lineage, table.state, table.leaf_state, self._prepare(eligibility))
        with shared.lock:
            if answer.nbytes <= shared.answers.maxsize:
                shared.answers[key] = answer
        return answer.eligibility

    def _written_that_pass(self, known: _Answer | None, passes: pl.Expr) -> BoolArray:
        """Which written rows pass, shape (S,); only rows that the known answer lacks are checked."""
        rows = self._table.rows
        is_known = known is not None and known.lineage is rows.lineage
        meets_S = known.meets_S[: len(rows)] if known is not None and is_known else np.zeros(0, dtype=np.bool_)
        if len(meets_S) == len(rows):
            return meets_S
        return np.concatenate([meets_S, _rows_that_pass(self._shared.written.since(len(meets_S), rows), passes)])


def filter_key(conditions: Mapping[str, Condition], further: Sequence[FilterTerm] = ()) -> bytes:
    """Returns a cache key of `KEY_BYTES` bytes for a filter.

    Filters with the same conditions have equal keys, whatever the order of their attributes and values.

    Args:
        conditions: The conditions, by the name of the attribute.
        further: Terms that the items must pass too.
    """
    text = _normalised_text(conditions)
    if further:
        text += repr(sorted((term.is_met, _normalised_text(term.conditions)) for term in further))
    return blake2b(text.encode(), digest_size=KEY_BYTES).digest()


def _normalised_text(conditions: Mapping[str, Condition]) -> str:
    """The conditions as text, sorted by attribute."""
    return repr(
        sorted(
            (name, _normalised(one.any_of), _normalised(one.none_of), repr(one.gte), repr(one.lte))
            for name, one in conditions.items()
        )
    )


def _normalised(values: Sequence[Scalar] | None) -> list[str] | None:
    """The values sorted, each once, as text: as text, True differs from 1."""
    return None if values is None else sorted(set(map(repr, values)))


def _rows_that_pass(items: pl.DataFrame, passes: pl.Expr) -> BoolArray:
    passing: BoolArray = np.asarray(items.select(passes).to_series().to_numpy())
    return passing


def _mask(table: ItemTable, meets_N: BoolArray, meets_S: BoolArray) -> BoolArray:
    """Which leaves hold an item that passes, shape (N,): by its written row if there is one, else by the bundle."""
    if not len(table.rows) and table.num_occupied_leaves == table.trie.num_leaves:
        return meets_N
    mask_N: BoolArray = meets_N & (table.place_of_leaf_N == np.arange(table.trie.num_leaves, dtype=np.int32))
    is_written_N = table.row_of_leaf_N != NO_ROW
    mask_N[is_written_N] = meets_S[table.row_of_leaf_N[is_written_N]]
    return mask_N
