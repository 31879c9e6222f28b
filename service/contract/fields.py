"""What the fields of all bodies have in common: ids, times, and the rules of an object."""

import re
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

MAX_FIELDS = 64  # of any object that has no limit of its own
NAMED_FIELDS = 4  # where an object is expected, and something else came
MAX_HISTORY = 10_000
MAX_K = 100

ItemId = Annotated[str, Field(min_length=1, max_length=256, examples=["1"])]
# Validation of a list stops at its first fault: a report of 500,000 faults would take minutes and gigabytes.
ItemIds = Annotated[list[ItemId], Field(max_length=MAX_HISTORY, fail_fast=True)]
EventType = Annotated[str, Field(min_length=1, max_length=256, examples=["purchase"])]
RecommendationId = Annotated[str, Field(min_length=1, max_length=64)]
Surface = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,32}$", examples=["home"])]
Code = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
LAST_SECOND = 253_402_300_799  # the end of the year 9999; today in milliseconds is more
TIME_SCHEMA = {
    "anyOf": [{"type": "number", "minimum": 0, "maximum": LAST_SECOND}, {"type": "string", "format": "date-time"}]
}
# What a path such as /users/{user_id} can hold: no control characters, and not . or .., which clients resolve.
USER_ID = re.compile(r"^(\.{0,2}[^\x00-\x1f\x7f.]|\.{3})[^\x00-\x1f\x7f]*$")
VALUE_ERROR = "Value error, "  # what pydantic puts before the text of a ValueError


def _seconds(at: object) -> object:
    """Converts a time as text (RFC 3339) or as a `datetime` with a time zone to seconds since 1970."""
    if isinstance(at, str):
        try:
            return _seconds_of_text(at.upper())
        except ValueError as error:
            expected = "seconds since 1970 or a time such as 2026-01-31T12:00:00Z"
            raise ValueError(f"expected {expected}, got {at[:40]!r}") from error
    if isinstance(at, datetime) and at.tzinfo is not None:
        return at.timestamp()
    if isinstance(at, int | float) and at > LAST_SECOND:
        raise ValueError(f"expected seconds since 1970, not milliseconds, and at most {LAST_SECOND}, got {at!r:.40}")
    return at


def _seconds_of_text(text: str) -> float:
    if not RFC_3339.fullmatch(text):
        raise ValueError("not RFC 3339")
    return datetime.fromisoformat(text).timestamp()


def _fits_a_path(user_id: str) -> str:
    if not USER_ID.fullmatch(user_id):
        raise ValueError(f"expected a text without control characters that is neither . nor .., got {user_id[:40]!r}")
    return user_id


UserId = Annotated[
    str,
    Field(min_length=1, max_length=256, examples=["42"], json_schema_extra={"pattern": USER_ID.pattern}),
    AfterValidator(_fits_a_path),
]
Time = Annotated[Finite, Field(ge=0), BeforeValidator(_seconds), WithJsonSchema(TIME_SCHEMA)]


class Body(BaseModel):
    """A request's body: no unknown fields, and no conversion between types."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _has_few_fields(cls, fields: object) -> object:
        if not isinstance(fields, dict | BaseModel):
            raise ValueError(f"expected {_described(cls)}, got {type(fields).__name__}")  # noqa: TRY004, pydantic's
        return bounded(fields, MAX_FIELDS, "fields")


def _described(body: type[BaseModel]) -> str:
    names = list(body.model_fields)
    return f"an object with fields such as {', '.join(names[:NAMED_FIELDS])}"


def bounded(fields: object, limit: int, kind: str) -> object:
    """Returns a JSON value unchanged, or refuses it if it is an object with too many members.

    Args:
        fields: The value, not validated yet. A value that is no object always passes.
        limit: Largest number of members.
        kind: What the members are, as a plural for the error message, such as `fields`.

    Raises:
        ValueError: If the object has more than `limit` members.
    """
    if isinstance(fields, dict) and len(fields) > limit:
        raise ValueError(f"expected at most {limit} {kind}, got {len(fields)}")
    return fields
