"""Compiles the conditions of a filter into one polars expression.

Numbers are compared exactly: integers as 128-bit integers, floats as float64. A value that the type of the attribute
cannot hold, such as 1.5 for an integer, is equal to no value of the attribute.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from reprlib import repr as shortened
from typing import cast

import polars as pl
from polars import selectors

from rqrec.service.catalogue.item import is_unicode
from rqrec.service.contract.filter import MAX_FILTER_VALUES, Condition, Scalar
from rqrec.service.errors import InvalidPart

LARGEST_INTEGER = 2**127 - 1  # of pl.Int128


class InvalidFilter(InvalidPart):
    """A filter does not fit the catalogue, for example because it names an unknown attribute.

    `place` says which part of the filter is wrong: the name of an attribute, such as `("year",)`, or of an attribute
    and one operator of its condition, such as `("year", "gte")`.
    """

    within = ("filter",)


@dataclass(frozen=True)
class FilterTerm:
    """Conditions that items must meet beside a filter.

    Attributes:
        conditions: The conditions, by the name of the attribute.
        is_met: True if an item must meet all conditions. False if an item must not meet all of them.
    """

    conditions: Mapping[str, Condition]
    is_met: bool = True


def compile_filter(conditions: Mapping[str, Condition], further: Sequence[FilterTerm], schema: pl.Schema) -> pl.Expr:
    """Returns a boolean polars expression that is true for the rows that pass a filter and further terms.

    Args:
        conditions: The conditions of the filter, by the name of the attribute; see `compile_conditions`.
        further: Terms that the rows must pass too.
        schema: The polars type of each attribute, by name.

    Raises:
        InvalidFilter: If an attribute is unknown, if its type does not fit its condition, or if the filter or a term
            has too many values.
    """
    passes = [compile_conditions(conditions, schema)]
    for term in further:
        meets = compile_conditions(term.conditions, schema)
        passes.append(meets if term.is_met else ~meets)
    return pl.all_horizontal(passes)


def compile_conditions(conditions: Mapping[str, Condition], schema: pl.Schema) -> pl.Expr:
    """Returns a boolean polars expression that is true for the rows that meet every condition.

    An attribute that is null meets the operator `none_of` and no other operator. An attribute that is a list meets
    `any_of` if it contains at least one of the operator's values, and `none_of` if it contains none of them.

    Args:
        conditions: The conditions, by the name of the attribute.
        schema: The polars type of each attribute, by name.

    Raises:
        InvalidFilter: If an attribute is unknown, if its type does not fit its condition, or if the filter has too
            many values.
    """
    _check_num_values(conditions)
    tests = [test for name, condition in conditions.items() for test in _tests(name, condition, schema)]
    return pl.all_horizontal(pl.lit(value=True), *tests)


def _check_num_values(conditions: Mapping[str, Condition]) -> None:
    count = 0
    for name, condition in conditions.items():
        for operator, values in (("any_of", condition.any_of), ("none_of", condition.none_of)):
            count += len(values or ())
            if count > MAX_FILTER_VALUES:
                raise InvalidFilter((name, operator), f"a filter has at most {MAX_FILTER_VALUES} values in all")


def _tests(name: str, condition: Condition, schema: pl.Schema) -> list[pl.Expr]:
    """One expression for each operator of a condition."""
    if name not in schema:
        raise InvalidFilter((name,), f"unknown attribute; the catalogue's are {sorted(schema)}")
    # selectors.by_name takes the name literally; pl.col reads names such as "*" as patterns.
    attribute, kind = selectors.by_name(name).as_expr(), schema[name]
    tests = []
    for operator, values in (("any_of", condition.any_of), ("none_of", condition.none_of)):
        if values is not None:
            meets = _has_one_of(attribute, kind, values, (name, operator)).fill_null(value=False)
            tests.append(meets if operator == "any_of" else ~meets)
    for operator, bound in (("gte", condition.gte), ("lte", condition.lte)):
        if bound is not None:
            if not kind.is_numeric():
                raise InvalidFilter((name, operator), f"{name!r} holds no numbers: use any_of or none_of")
            tests.append(_is_within(attribute, kind, operator, bound).fill_null(value=False))
    return tests


def _has_one_of(attribute: pl.Expr, kind: pl.DataType, values: Sequence[Scalar], place: tuple[str, str]) -> pl.Expr:
    """Whether the attribute, or one value of its list, is among the values."""
    value_kind = cast("pl.DataType", kind.inner) if isinstance(kind, pl.List) else kind
    for value in values:
        _check_type(value, value_kind, place)
    wanted = _comparable(values, value_kind)
    if isinstance(kind, pl.List):
        return attribute.list.eval(pl.element().cast(wanted.dtype).is_in(wanted.implode())).list.any()
    return attribute.cast(wanted.dtype).is_in(wanted.implode())


def _is_within(attribute: pl.Expr, kind: pl.DataType, operator: str, bound: float) -> pl.Expr:
    """Compares with a bound; integers are not compared as float64, which cannot hold all of them."""
    if kind.is_integer():
        whole = math.ceil(bound) if operator == "gte" else math.floor(bound)
        whole = max(min(whole, LARGEST_INTEGER), -LARGEST_INTEGER)
        attribute, limit = attribute.cast(pl.Int128), pl.lit(whole, dtype=pl.Int128)
    else:
        limit = pl.lit(float(bound), dtype=pl.Float64)
    return attribute >= limit if operator == "gte" else attribute <= limit


def _comparable(values: Sequence[Scalar], kind: pl.DataType) -> pl.Series:
    """The values in a type that compares exactly with the attribute's type, without values that it cannot hold."""
    if kind.is_integer():
        whole = [int(value) for value in values if not isinstance(value, str) and value == value // 1]
        return pl.Series([value for value in whole if abs(value) <= LARGEST_INTEGER], dtype=pl.Int128)
    if kind.is_numeric():
        numbers = [(value, float(value)) for value in values if abs(value) <= sys.float_info.max]  # type: ignore[arg-type]
        return pl.Series([number for value, number in numbers if number == value], dtype=pl.Float64)
    if kind == pl.Boolean:
        return pl.Series(values, dtype=pl.Boolean)
    return pl.Series([str(value) for value in values if is_unicode(str(value))], dtype=pl.String)


def _check_type(value: Scalar, kind: pl.DataType, place: tuple[str, str]) -> None:
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
