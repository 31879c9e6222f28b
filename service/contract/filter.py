"""Conditions on the attributes of items."""

import math
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, WithJsonSchema, model_validator

from rqrec.service.contract.fields import Body, Finite, bounded

LARGEST_WHOLE = 10**100
MAX_CONDITIONS = 20
MAX_FILTER_VALUES = 10_000
Scalar = bool | int | float | str
Whole = Annotated[int, Field(ge=-(10**100), le=10**100)]
SCALAR_SCHEMA = TypeAdapter(bool | Whole | Finite | str).json_schema()


def _are_scalars(values: list[Any]) -> list[Scalar]:
    """Checks that each value is a scalar of limited size; pydantic's union of types would take 2 us a value."""
    for value in values:
        kind = type(value)
        if kind is str or kind is bool:
            continue
        if kind is not int and kind is not float:
            raise ValueError(f"expected a string, a number, true or false, got {kind.__name__}")
        if not (abs(value) <= LARGEST_WHOLE if kind is int else math.isfinite(value)):
            raise ValueError("expected a finite number, and a whole one between -1e100 and 1e100")
    return values


Values = Annotated[
    list[Annotated[Any, WithJsonSchema(SCALAR_SCHEMA)]],
    Field(min_length=1, max_length=MAX_FILTER_VALUES),
    AfterValidator(_are_scalars),
]


class Condition(Body):
    """A condition on one attribute: the attribute must meet every operator that is given."""

    any_of: Values | None = Field(
        None,
        description="The attribute is one of these values; of a list attribute, at least one value is. Texts are "
        "compared exactly, with upper and lower case; a value that no item has is no error, and no item passes.",
    )
    none_of: Values | None = Field(
        None, description="The attribute is none of these values; of a list attribute, no value is."
    )
    gte: Finite | None = Field(None, description="The attribute is a number that is greater than or equal to this one.")
    lte: Finite | None = Field(None, description="The attribute is a number that is less than or equal to this one.")

    @model_validator(mode="after")
    def _has_an_operator(self) -> Self:
        if all(value is None for value in (self.any_of, self.none_of, self.gte, self.lte)):
            raise ValueError("expected at least one of any_of, none_of, gte and lte")
        return self

    @property
    def num_values(self) -> int:
        """The number of values in any_of and none_of."""
        return len(self.any_of or ()) + len(self.none_of or ())


Filter = Annotated[
    dict[str, Condition],
    Field(max_length=MAX_CONDITIONS),
    BeforeValidator(lambda fields: bounded(fields, MAX_CONDITIONS, "conditions")),
]
