"""One item as the catalogue knows it, and its passage to and from a table."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from rqrec.models.bundle.tables import ITEM_ID


@dataclass(frozen=True)
class Item:
    """What the catalogue knows of an item; `payload` is its attributes as JSON."""

    item_id: str
    payload: str

    @property
    def attributes(self) -> dict[str, Any]:
        """The payload, read."""
        attributes: dict[str, Any] = json.loads(self.payload)
        return attributes


def items_of(frame: pl.DataFrame) -> list[Item]:
    """The rows of a frame as items: `item_id`, and the other columns as their attributes."""
    attributes = frame.drop(ITEM_ID)
    payloads: list[str] = (
        attributes.to_struct().struct.json_encode().to_list() if attributes.width else ["{}"] * len(frame)
    )
    return [Item(item_id, payload) for item_id, payload in zip(frame[ITEM_ID], payloads, strict=True)]


def frame_of(items: Sequence[Item], schema: pl.Schema) -> pl.DataFrame:
    """The inverse of `items_of`, for payloads that it made.

    Raises:
        polars.exceptions.PolarsError: If a payload is something else.
    """
    attributes = pl.Struct({name: kind for name, kind in schema.items() if name != ITEM_ID})
    payloads = pl.Series([item.payload for item in items], dtype=pl.String)
    ids = pl.Series(ITEM_ID, [item.item_id for item in items], dtype=pl.String)
    if not attributes.fields:
        return pl.DataFrame([ids])
    columns = {ITEM_ID: ids, **payloads.str.json_decode(attributes).struct.unnest().to_dict()}
    return pl.DataFrame([columns[name] for name in schema])


def as_shown(items: pl.DataFrame) -> pl.DataFrame:
    """The same items with numbers as their payloads show them: a float32 of 9.99 is 9.99, and so is a decimal."""
    return items.with_columns(
        pl.col(name).cast(_with_numbers(kind, pl.String())).cast(_with_numbers(kind, pl.Float64()))
        for name, kind in items.schema.items()
        if _with_numbers(kind, pl.Float64()) != kind
    )


def is_unicode(text: str) -> bool:
    """Whether a text has no half of a surrogate pair, which JSON can spell and no item can bear."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _with_numbers(kind: pl.DataType, number: pl.DataType) -> pl.DataType:
    """The type with another one for float32 and decimals, in lists too."""
    if isinstance(kind, pl.List):
        return pl.List(_with_numbers(kind.inner, number))  # type: ignore[arg-type]
    return number if kind == pl.Float32 or kind.is_decimal() else kind
