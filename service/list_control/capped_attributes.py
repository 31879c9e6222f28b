"""Reads the values of capped attributes of items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson
import polars as pl

from rqrec.models.array_types import IntArray
from rqrec.models.search.control.caps import Values
from rqrec.service.catalogue.filter_conditions import FilterTerm
from rqrec.service.catalogue.item_table import ItemTable
from rqrec.service.contract.filter import MAX_FILTER_VALUES, Condition, Scalar
from rqrec.service.errors import InvalidPart


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
        for name in limits:
            if name not in schema:
                raise InvalidPart(("caps", name), f"unknown attribute; the catalogue's are {sorted(schema)}")
            kind = cast("pl.DataType", kind.inner) if isinstance(kind := schema[name], pl.List) else kind
            if not (kind.is_integer() or kind in (pl.String, pl.Boolean)):
                raise InvalidPart(
                    ("caps", name),
                    f"expected an attribute of strings, whole numbers, true or false, or lists of these; {name!r} "
                    f"holds {kind}",
                )
        return cls(limits)

    def values_of(self, places_M: IntArray, table: ItemTable) -> list[Values]:
        """Returns the values of M items: for each item and each capped attribute, a list.

        Args:
            places_M: Places (indices in the catalogue) of the items, int64.
            table: All items of the catalogue.
        """
        if not self.limits:
            return [()] * len(places_M)
        names = list(self.limits)
        rows = (orjson.loads(item.payload) for item in table.items(places_M))
        return [[_as_list(row[name]) for name in names] for row in rows]

    def terms_without(self, full_values: Sequence[Sequence[Any]]) -> list[FilterTerm]:
        """Returns terms of a filter which pass the items that have none of some values.

        Args:
            full_values: The values, for each capped attribute.
        """
        return [
            FilterTerm({name: Condition.model_construct(none_of=[*values[begin : begin + MAX_FILTER_VALUES]])})
            for name, values in zip(self.limits, full_values, strict=True)
            for begin in range(0, len(values), MAX_FILTER_VALUES)
        ]


def _as_list(value: Scalar | list[Scalar | None] | None) -> list[Scalar]:
    """The values of an attribute, without nulls."""
    values = value if isinstance(value, list) else [value]
    return [one for one in values if one is not None]
