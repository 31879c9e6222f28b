"""One item of the catalogue, and its conversion to and from a row of a polars frame."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from rqrec.models.bundle.tables import ITEM_ID


@dataclass(frozen=True)
class Item:
    """One item of the catalogue.

    Attributes:
        item_id: The id of the item, as clients use it.
        payload: The attributes, as the text of a JSON object.
    """

    item_id: str
    payload: str

    @property
    def attributes(self) -> dict[str, Any]:
        """The item's attributes by name, parsed from the JSON text `Item.payload`."""
        attributes: dict[str, Any] = json.loads(self.payload)
        return attributes


def items_of(frame: pl.DataFrame) -> list[Item]:
    """Converts each row of a frame to an item: column `item_id` is the id, the other columns are the attributes."""
    attributes = frame.drop(ITEM_ID)
    payloads: list[str] = (
        attributes.to_struct().struct.json_encode().to_list() if attributes.width else ["{}"] * len(frame)
    )
    return [Item(item_id, payload) for item_id, payload in zip(frame[ITEM_ID], payloads, strict=True)]


def frame_of(items: Sequence[Item], schema: pl.Schema) -> pl.DataFrame:
    """Converts items to a polars frame with one row for each item; the inverse of `items_of`.

    Args:
        items: Items whose payloads were made by `items_of`.
        schema: The polars type of `item_id` and of each attribute, by name; the columns of the frame.

    Raises:
        polars.exceptions.PolarsError: If a payload does not fit the schema.
    """
    attributes = pl.Struct({name: kind for name, kind in schema.items() if name != ITEM_ID})
    payloads = pl.Series([item.payload for item in items], dtype=pl.String)
    ids = pl.Series(ITEM_ID, [item.item_id for item in items], dtype=pl.String)
    if not attributes.fields:
        return pl.DataFrame([ids])
    columns = {ITEM_ID: ids, **payloads.str.json_decode(attributes).struct.unnest().to_dict()}
    return pl.DataFrame([columns[name] for name in schema])


def as_shown(items: pl.DataFrame) -> pl.DataFrame:
    """Returns the items with the numbers that clients are shown: float32 and decimal columns become float64.

    The conversion goes by way of text, so that a float32 of 9.99 is shown as 9.99 and not as 9.9899997.
    """
    return items.with_columns(
        pl.col(name).cast(_with_numbers(kind, pl.String())).cast(_with_numbers(kind, pl.Float64()))
        for name, kind in items.schema.items()
        if _with_numbers(kind, pl.Float64()) != kind
    )


def is_unicode(text: str) -> bool:
    """Returns whether UTF-8 can encode a text. It cannot encode half of a surrogate pair, which JSON may contain."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _with_numbers(kind: pl.DataType, number: pl.DataType) -> pl.DataType:
    """The type with float32 and decimals replaced by `number`, also inside lists."""
    if isinstance(kind, pl.List):
        return pl.List(_with_numbers(kind.inner, number))  # type: ignore[arg-type]
    return number if kind == pl.Float32 or kind.is_decimal() else kind
