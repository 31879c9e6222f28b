"""An item as a client writes it → a change for the log: checked, embedded and tokenised."""

import json
from collections.abc import Mapping
from reprlib import repr as shortened
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rqrec.models.bundle.tables import ITEM_ID
from rqrec.models.items.item_tokenizer import ItemTokenizer, NoTextEncoder
from rqrec.models.tokenizer.featurizer import TEXT, Given, Source
from rqrec.service.catalogue.changes import Put
from rqrec.service.catalogue.item import is_unicode, items_of
from rqrec.service.errors import InvalidPart

TEXT_VECTOR, VECTORS = "text_vector", "vectors"
MAX_DEPTH = 8  # the time that polars takes for lists in lists doubles with each
LARGEST_FLOAT = float(np.finfo(np.float32).max)


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
    for name, value in values.items():
        if (fault := _fault(value)) is not None:
            raise InvalidItem(("attributes", name), fault)
    frame = pl.DataFrame([_column(name, values.get(name), kind) for name, kind in types.items()])
    with np.errstate(over="ignore", invalid="ignore"):  # looked at below
        features_1E = tokenizer.features(frame, _text(text_vector, frame, tokenizer))
    _check_features(features_1E[0], tokenizer)
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


def _fault(value: object) -> str | None:
    """Why a payload or a vector cannot hold a value, however deep in lists; None where it can."""
    waiting = [(value, 0)]
    while waiting:
        one, depth = waiting.pop()
        if depth > MAX_DEPTH:
            return f"expected at most {MAX_DEPTH} lists in each other, got more"
        if isinstance(one, list | tuple):
            waiting.extend((inner, depth + 1) for inner in one)
        elif isinstance(one, Mapping):
            waiting.extend((inner, depth + 1) for inner in (*one.keys(), *one.values()))
        elif isinstance(one, float) and not abs(one) <= LARGEST_FLOAT:
            return f"expected finite numbers of at most {LARGEST_FLOAT:.8g}, as float32 holds them, got {one}"
        elif isinstance(one, int) and not -(2**63) <= one < 2**63:
            return f"expected whole numbers of 64 bits, got one of {one.bit_length()} bits"
        elif isinstance(one, str) and not is_unicode(one):
            return f"expected text that UTF-8 can spell, got {shortened(one)}"
    return None


def _column(name: str, value: object, kind: pl.DataType) -> pl.Series:
    fault = InvalidItem(("attributes", name), f"expected {kind}, got {shortened(value)}")
    if isinstance(value, bool) and kind != pl.Boolean:  # polars would take it for a number
        raise fault
    try:
        column = pl.Series(name, [value], dtype=kind, strict=True)
    except (TypeError, ValueError, OverflowError, RecursionError, pl.exceptions.PolarsError) as error:
        raise fault from error
    (held,) = column.to_list()
    if _num_nulls(held) != _num_nulls(value):
        raise fault
    return column


def _num_nulls(value: object) -> int:
    """How many nulls a value is or holds."""
    return sum(map(_num_nulls, value)) if isinstance(value, list | tuple) else int(value is None)


def _check_features(features_E: NDArray[np.float32], tokenizer: ItemTokenizer) -> None:
    """Refuses an item whose content this model cannot read: a number that is too far from those of training."""
    begin = 0
    for block in tokenizer.featurizer.blocks:
        end = begin + block.width + block.is_marked
        if not np.isfinite(features_E[begin:end]).all():
            place = (TEXT_VECTOR,) if (block.source, block.name) == (Source.GIVEN, TEXT) else ("attributes", block.name)
            raise InvalidItem(place, "expected numbers nearer to those that the model was trained on")
        begin = end


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
    if (fault := _fault(text_vector)) is not None:
        raise InvalidItem(place, fault)
    return Given(np.array([text_vector], dtype=np.float32), np.array([True]))
