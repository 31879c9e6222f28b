"""Converts an item that a client writes to a change: checks its values, embeds its text and computes its codes."""

import json
from collections.abc import Mapping, Sequence
from reprlib import repr as shortened
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rqrec.models.bundle.tables import ITEM_ID
from rqrec.models.items.item_tokenizer import ItemTokenizer, NoTextEncoder
from rqrec.models.tokenizer.featurizer import TEXT, Given, Source
from rqrec.service.catalogue.attribute_values import described, fitted
from rqrec.service.catalogue.changes import Put
from rqrec.service.catalogue.item import is_unicode, items_of
from rqrec.service.errors import InvalidPart

TEXT_VECTOR, VECTORS = "text_vector", "vectors"
MAX_DEPTH = 8  # of lists in lists: with each level, polars needs twice the time
LARGEST_FLOAT = float(np.finfo(np.float32).max)


class InvalidItem(InvalidPart):
    """An item that a client writes does not fit the model.

    `place` says which field of the request is wrong: `("attributes", <name>)` or `("text_vector",)`.
    """


class Written(NamedTuple):
    """The content of an item as a client sends it with PUT /items/{item_id}.

    Attributes:
        item_id: The item's id.
        attributes: The item's attributes by name. If the model was trained with columns of vectors, such as an image
            embedding, the item's vectors are among them, also by name.
            An attribute of the catalogue that is not given is null.
        text_vector: The embedding of the item's text; None to let the bundle's text encoder compute it.
    """

    item_id: str
    attributes: Mapping[str, Any]
    text_vector: list[float] | None


def tokenise(
    item_id: str,
    attributes: Mapping[str, Any],
    text_vector: list[float] | None,
    schema: pl.Schema,
    tokenizer: ItemTokenizer,
) -> Put:
    """Converts an item that a client sends to a `Put`: checks its values, and computes its features and codes.

    Args:
        item_id: The item's id.
        attributes: The item's attributes by name. If the model was trained with columns of vectors, such as an image
            embedding, the item's vectors are among them, also by name.
            An attribute of the catalogue that is not given is null.
        text_vector: The embedding of the item's text; None to let the bundle's text encoder compute it.
        schema: The polars type of `item_id` and of each attribute that the catalogue shows to clients, by name.
        tokenizer: The model's item tokenizer.

    Raises:
        InvalidItem: If an attribute is unknown, a value has another type, or the text cannot be embedded.
    """
    (put,) = tokenise_all([Written(item_id, attributes, text_vector)], schema, tokenizer)
    return put


def tokenise_all(items: Sequence[Written], schema: pl.Schema, tokenizer: ItemTokenizer) -> list[Put]:
    """Converts several items to `Put` changes at once, as `tokenise` does with one item.

    With many items, this takes a fifth of the time of one call for each item.

    Args:
        items: The items, at least one.
        schema: The polars type of `item_id` and of each attribute that the catalogue shows to clients, by name.
        tokenizer: The model's item tokenizer.

    Raises:
        InvalidItem: If any of the items does not fit the model; then no item is converted.
    """
    vectors = {name: pl.Array(pl.Float32, width) for name, width in tokenizer.vector_attributes.items()}
    types: dict[str, Any] = {**schema, **vectors}
    values = [_checked_values(item, types) for item in items]
    frame = pl.DataFrame([_column(name, [one.get(name) for one in values], kind) for name, kind in types.items()])
    with np.errstate(over="ignore", invalid="ignore"):  # _check_features refuses infinite features
        features_NE = tokenizer.features(frame, _text([item.text_vector for item in items], frame, tokenizer))
    for features_E in features_NE:
        _check_features(features_E, tokenizer)
    codes_NL = tokenizer.codes(features_NE).tolist()
    hidden = [
        {VECTORS: {name: one[name] for name in vectors if one.get(name) is not None}, TEXT_VECTOR: item.text_vector}
        for item, one in zip(items, values, strict=True)
    ]
    return [
        Put(item, tuple(codes), features_E.tobytes(), json.dumps(more))
        for item, codes, features_E, more in zip(
            items_of(frame[schema.names()]), codes_NL, features_NE, hidden, strict=True
        )
    ]


def as_written(put: Put, schema: pl.Schema, tokenizer: ItemTokenizer) -> Written:
    """Converts an item that was written for another model to the form in which a client would send it to this model.

    Attributes that this model does not know are left out. A text vector whose length does not fit is left out too.

    Args:
        put: The change that wrote the item for the other model.
        schema: The polars type of `item_id` and of each attribute that this model's catalogue shows to clients, by
            name.
        tokenizer: The item tokenizer of this model.
    """
    hidden = json.loads(put.hidden)
    text_vector = hidden.get(TEXT_VECTOR)
    if text_vector is not None and len(text_vector) != tokenizer.text_width:
        text_vector = None  # of another text encoder
    known = {*schema.names(), *tokenizer.vector_attributes} - {ITEM_ID}
    attributes = {
        name: value for name, value in {**put.item.attributes, **hidden.get(VECTORS, {})}.items() if name in known
    }
    return Written(put.item_id, attributes, text_vector)


def _checked_values(item: Written, types: Mapping[str, Any]) -> dict[str, Any]:
    """The item's id and attributes by name, all of them known and possible."""
    unknown = [name for name in item.attributes if name not in types or name == ITEM_ID]
    if unknown:
        known = sorted(types.keys() - {ITEM_ID})
        raise InvalidItem(("attributes", unknown[0]), f"unknown attribute; the catalogue's are {known}")
    values = {**item.attributes, ITEM_ID: item.item_id}
    for name, value in values.items():
        if (fault := _fault(value)) is not None:
            raise InvalidItem(("attributes", name), fault)
    return values


def _fault(value: object) -> str | None:
    """Why a payload or a vector cannot hold a value, at any depth of lists; None if it can."""
    waiting = [(value, 0)]
    while waiting:
        one, depth = waiting.pop()
        if depth > MAX_DEPTH:
            return f"expected at most {MAX_DEPTH} levels of nested lists, got more"
        if isinstance(one, list | tuple):
            waiting.extend((inner, depth + 1) for inner in one)
        elif isinstance(one, Mapping):
            waiting.extend((inner, depth + 1) for inner in (*one.keys(), *one.values()))
        elif isinstance(one, float) and not abs(one) <= LARGEST_FLOAT:
            return f"expected finite numbers within float32 (at most {LARGEST_FLOAT:.8g}), got {one}"
        elif isinstance(one, int) and not -(2**63) <= one < 2**63:
            return f"expected 64-bit integers, got one of {one.bit_length()} bits"
        elif isinstance(one, str) and not is_unicode(one):
            return f"expected text that UTF-8 can encode, got {shortened(one)}"
    return None


def _column(name: str, values: Sequence[object], kind: pl.DataType) -> pl.Series:
    """A column of values. Refuses a value of another type, also where polars would convert it or make it null."""

    def fault(value: object) -> InvalidItem:
        return InvalidItem(("attributes", name), f"expected {described(kind)}, got {shortened(value)}")

    try:
        column = pl.Series(name, [fitted(value, kind) for value in values], dtype=kind, strict=True)
    except (TypeError, ValueError, OverflowError, RecursionError, pl.exceptions.PolarsError) as error:
        raise fault(values[0]) from error
    for value, held in zip(values, column.to_list(), strict=True):
        if _num_nulls(held) != _num_nulls(value):
            raise fault(value)
    return column


def _num_nulls(value: object) -> int:
    """The number of nulls in a value, at any depth of lists."""
    return sum(map(_num_nulls, value)) if isinstance(value, list | tuple) else int(value is None)


def _check_features(features_E: NDArray[np.float32], tokenizer: ItemTokenizer) -> None:
    """Refuses infinite features: a number of the item is too far from the numbers seen in training."""
    begin = 0
    for block in tokenizer.featurizer.blocks:
        end = begin + block.width + block.is_marked
        if not np.isfinite(features_E[begin:end]).all():
            place = (TEXT_VECTOR,) if (block.source, block.name) == (Source.GIVEN, TEXT) else ("attributes", block.name)
            raise InvalidItem(
                place,
                "expected a number nearer to the numbers that the model was trained on, got one that overflows float32",
            )
        begin = end


def _text(vectors: Sequence[list[float] | None], frame: pl.DataFrame, tokenizer: ItemTokenizer) -> Given | None:
    """The text block of the features: the given vectors, and those of the text encoder; None without text."""
    place, width = (TEXT_VECTOR,), tokenizer.text_width
    for vector in vectors:
        if vector is not None and len(vector) != width:
            raise InvalidItem(place, f"expected {width} numbers, got {len(vector)}")
        if vector is not None and (fault := _fault(vector)) is not None:
            raise InvalidItem(place, fault)
    is_given_N = np.array([vector is not None for vector in vectors])
    vectors_NW, present_N = np.zeros((len(frame), width), dtype=np.float32), is_given_N.copy()
    for row, vector in enumerate(vectors):
        if vector is not None:
            vectors_NW[row] = vector
    if not is_given_N.all():
        try:
            embedded = tokenizer.embed(frame.filter(pl.Series(~is_given_N)))
        except NoTextEncoder as error:
            remedy = f"send text_vector with {width} numbers, or leave the strings out"
            raise InvalidItem(place, f"{error}: {remedy}") from error
        if embedded is not None:
            vectors_NW[~is_given_N], present_N[~is_given_N] = embedded.vectors_NW, embedded.present_N
    return Given(vectors_NW, present_N) if present_N.any() else None
