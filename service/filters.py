"""Filters on item attributes: the leaves that a request's conditions leave, kept in a bounded cache."""

import math
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import cast

import numpy as np
import polars as pl
from cachetools import LRUCache
from numpy.typing import NDArray

from models.eligibility import Eligibility
from models.trie import SemanticIdTrie
from service.errors import InvalidPart
from service.schemas import Condition, Scalar
from service.telemetry import Metrics

CACHE_TIER = "filter"
LARGEST_INTEGER = 2**127 - 1


class InvalidFilter(InvalidPart):
    """A filter that this catalogue cannot answer; its place is an attribute and, where it is one, an operator."""

    within = ("filter",)


class Filters:
    """Answers filters over one catalogue.

    Args:
        items: Items by the rows that the trie's leaves name (see `models.bundle.Bundle.items`).
        trie: Their trie.
        metrics: Counts hits and misses of the cache.
        cache_bytes: Memory that answered filters may take; the least recently used ones go first.
    """

    def __init__(self, items: pl.DataFrame, trie: SemanticIdTrie, metrics: Metrics, *, cache_bytes: int) -> None:
        self._items = items
        self._trie = trie
        self._metrics = metrics
        self._cache_bytes = cache_bytes
        self._lock = Lock()
        self._answered: LRUCache[str, Eligibility] = LRUCache(cache_bytes, getsizeof=lambda answer: answer.nbytes)

    @property
    def schema(self) -> pl.Schema:
        """item_id and the attributes, by the type of their values."""
        return self._items.schema

    def over(self, added: pl.DataFrame, trie: SemanticIdTrie) -> "Filters":
        """The filters of a changed catalogue.

        Args:
            added: Items that are new rows, with the same attributes.
            trie: The changed trie.
        """
        items = pl.concat([self._items, added[self._items.columns]])
        return Filters(items, trie, self._metrics, cache_bytes=self._cache_bytes)

    def kept(self, is_kept_R: NDArray[np.bool_], trie: SemanticIdTrie) -> "Filters":
        """The filters over some of the rows; the trie names them by their new numbers."""
        return Filters(self._items.filter(pl.Series(is_kept_R)), trie, self._metrics, cache_bytes=self._cache_bytes)

    def eligibility(self, conditions: Mapping[str, Condition]) -> Eligibility:
        """The leaves whose items meet every condition.

        An attribute that is missing from an item meets no condition but `none_of`. Of a list, one value is enough.

        Raises:
            InvalidFilter: If an attribute is unknown, or holds another type than the condition's.
        """
        key = repr(sorted((name, repr(condition)) for name, condition in conditions.items()))
        with self._lock:
            answer = self._answered.get(key)
        self._metrics.cache_requests.labels(CACHE_TIER, "miss" if answer is None else "hit").inc()
        if answer is None:
            tests = [test for name, condition in conditions.items() for test in self._tests(name, condition)]
            mask_R = self._items.select(pl.all_horizontal(pl.lit(value=True), *tests)).to_series().to_numpy()
            answer = Eligibility.of(self._trie, mask_R[self._trie.row_of_leaf_N])
            with self._lock:
                if answer.nbytes <= self._answered.maxsize:
                    self._answered[key] = answer
        return answer

    def _tests(self, name: str, condition: Condition) -> list[pl.Expr]:
        if name not in self._items.columns:
            raise InvalidFilter((name,), f"unknown attribute; the catalogue's are {sorted(self._items.columns)}")
        # The column itself and not its name: polars reads names such as "*" as patterns.
        attribute, kind = pl.lit(self._items[name]), self._items.schema[name]
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
            meets = attribute >= bound if operator == "gte" else attribute <= bound
            tests.append(meets.fill_null(value=False))
        return tests


def _wanted(values: Sequence[Scalar], kind: pl.DataType) -> pl.Series:
    """Values in a type that compares exactly with the attribute's; those that it cannot hold match nothing."""
    if kind.is_integer():
        whole = [int(value) for value in values if not isinstance(value, str) and value == value // 1]
        return pl.Series([value for value in whole if abs(value) <= LARGEST_INTEGER], dtype=pl.Int128)
    if kind.is_numeric():
        return pl.Series([float(value) for value in values if abs(float(value)) < math.inf], dtype=pl.Float64)
    if kind == pl.Boolean:
        return pl.Series(values, dtype=pl.Boolean)
    return pl.Series([str(value) for value in values if _is_unicode(str(value))], dtype=pl.String)


def _is_unicode(text: str) -> bool:
    """Whether a text has no half of a surrogate pair, which JSON can spell and no item can bear."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


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
        raise InvalidFilter(place, f"{place[0]!r} holds {name}, got {value!r}")
