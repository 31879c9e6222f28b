"""Reads the values of capped attributes of items."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import Any, cast

import orjson
import polars as pl

from rqrec.models.array_types import IntArray
from rqrec.models.bundle.tables import ITEM_ID
from rqrec.models.search.control.caps import Values
from rqrec.service.catalogue.filter_conditions import FilterTerm
from rqrec.service.catalogue.item_table import ItemTable
from rqrec.service.contract.filter import MAX_FILTER_VALUES, Condition, Scalar
from rqrec.service.errors import InvalidPart

READ_AT_ONCE = 64  # items; the first ones mostly suffice
MAX_VALUES = 64  # of one attribute of an item, so that no item holds the event loop
REMEMBERED = 4096  # items whose values are kept


@dataclass(frozen=True)
class CappedAttributes:
    """The capped attributes of a request.

    Attributes:
        limits: The largest number of items with the same value, by the name of the attribute.
    """

    limits: Mapping[str, int]

    @classmethod
    def checked(cls, limits: Mapping[str, int], schema: pl.Schema) -> "CappedAttributes":
        """Checks that all attributes exist, and that caps suit their types.

        Args:
            limits: The largest number of items with the same value, by the name of the attribute.
            schema: The polars type of each attribute, by name.

        Raises:
            InvalidPart: If an attribute is unknown, or if it holds numbers with fractions or objects.
        """
        names = sorted(set(schema) - {ITEM_ID})
        for name in limits:
            if name not in names:
                raise InvalidPart(("caps", name), f"expected an attribute, got {name!r}; the catalogue's are {names}")
            kind = cast("pl.DataType", kind.inner) if isinstance(kind := schema[name], pl.List) else kind
            if not (kind.is_integer() or kind in (pl.String, pl.Boolean)):
                raise InvalidPart(
                    ("caps", name),
                    f"expected an attribute of strings, whole numbers, true or false, or lists of these; {name!r} "
                    f"holds {kind}",
                )
        return cls(limits)

    def values_of(self, places_M: IntArray, table: ItemTable) -> Iterator[Values]:
        """Reads the capped values of M items, one item after the other.

        Args:
            places_M: Places (indices in the catalogue) of the items, int64.
            table: All items of the catalogue.
        """
        if not self.limits:
            yield from repeat((), len(places_M))
            return
        names = tuple(self.limits)
        for begin in range(0, len(places_M), READ_AT_ONCE):
            for item in table.items(places_M[begin : begin + READ_AT_ONCE]):
                yield _values_in(item.payload, names)

    def terms_without(self, full_values: Mapping[str, Sequence[Any]]) -> list[FilterTerm]:
        """Returns terms of a filter which pass the items that have none of some values.

        Args:
            full_values: The values, by the name of the capped attribute.
        """
        return [
            FilterTerm({name: Condition.model_construct(none_of=[*values[begin : begin + MAX_FILTER_VALUES]])})
            for name, values in full_values.items()
            for begin in range(0, len(values), MAX_FILTER_VALUES)
        ]


@lru_cache(REMEMBERED)
def _values_in(payload: str, names: tuple[str, ...]) -> Values:
    """The different values of some attributes in the JSON of an item. The same items are candidates again and again."""
    row = orjson.loads(payload)
    return tuple(dict.fromkeys((name, value) for name in names for value in _as_list(row[name])[:MAX_VALUES]))


def _as_list(value: Scalar | list[Scalar | None] | None) -> list[Scalar]:
    """The values of an attribute, without nulls."""
    values = value if isinstance(value, list) else [value]
    return [one for one in values if one is not None]
