"""An item as a client writes it → a change for the log: checked, embedded and tokenised."""

import json
from collections.abc import Mapping
from reprlib import repr as shortened
from typing import Any

import numpy as np
import polars as pl

from models.bundle import ITEM_ID
from models.featurizer import Given
from models.item_tokenizer import ItemTokenizer, NoTextEncoder
from service.changes import Put
from service.errors import InvalidPart
from service.table import items_of

TEXT_VECTOR, VECTORS = "text_vector", "vectors"


class InvalidItem(InvalidPart):
    """An item that this model cannot take."""


def tokenise(
    item_id: str,
    attributes: Mapping[str, Any],
    text_vector: list[float] | None,
    schema: pl.Schema,
    tokenizer: ItemTokenizer,
) -> Put:
    """What is to be written of an item.

    Args:
        item_id: Its id.
        attributes: By name; what is left out is null.
        text_vector: The embedding of its text, for where the encoder is not installed.
        schema: item_id and the attributes that the catalogue shows, by type.
        tokenizer: The model's.

    Raises:
        InvalidItem: If an attribute is unknown or has a value of another type, or the text cannot be embedded.
    """
    vectors = {name: pl.Array(pl.Float32, width) for name, width in tokenizer.vector_attributes.items()}
    types: dict[str, Any] = {**schema, **vectors}
    unknown = [name for name in attributes if name not in types or name == ITEM_ID]
    if unknown:
        known = sorted(types.keys() - {ITEM_ID})
        raise InvalidItem(("attributes", unknown[0]), f"unknown attribute; the catalogue's are {known}")
    values = {**attributes, ITEM_ID: item_id}
    frame = pl.DataFrame([_column(name, values.get(name), kind) for name, kind in types.items()])
    features_1E = tokenizer.features(frame, _text(text_vector, frame, tokenizer))
    (codes,) = tokenizer.codes(features_1E).tolist()
    (item,) = items_of(frame[schema.names()])
    hidden = {
        VECTORS: {name: values[name] for name in vectors if values.get(name) is not None},
        TEXT_VECTOR: text_vector,
    }
    return Put(item, tuple(codes), features_1E.tobytes(), json.dumps(hidden))


def tokenise_anew(put: Put, schema: pl.Schema, tokenizer: ItemTokenizer) -> Put:
    """What is to be written of an item that was written for another model: this one's codes of the same content.

    Raises:
        InvalidItem: If this model cannot take it.
    """
    hidden = json.loads(put.hidden)
    text_vector = hidden.get(TEXT_VECTOR)
    if text_vector is not None and len(text_vector) != tokenizer.text_width:
        text_vector = None  # of another encoder
    known = {*schema.names(), *tokenizer.vector_attributes} - {ITEM_ID}
    attributes = {
        name: value for name, value in {**put.item.attributes, **hidden.get(VECTORS, {})}.items() if name in known
    }
    return tokenise(put.item_id, attributes, text_vector, schema, tokenizer)


def _column(name: str, value: object, kind: pl.DataType) -> pl.Series:
    fault = InvalidItem(("attributes", name), f"expected {kind}, got {shortened(value)}")
    if isinstance(value, bool) and kind != pl.Boolean:  # polars would take it for a number
        raise fault
    try:
        return pl.Series(name, [value], dtype=kind, strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise fault from error


def _text(text_vector: list[float] | None, frame: pl.DataFrame, tokenizer: ItemTokenizer) -> Given | None:
    place, width = (TEXT_VECTOR,), tokenizer.text_width
    if text_vector is None:
        try:
            return tokenizer.embed(frame)
        except NoTextEncoder as error:
            remedy = f"send text_vector, {width} numbers, or leave the strings out"
            raise InvalidItem(place, f"{error}: {remedy}") from error
    if len(text_vector) != width:
        raise InvalidItem(place, f"expected {width} numbers, got {len(text_vector)}")
    return Given(np.array([text_vector], dtype=np.float32), np.array([True]))
