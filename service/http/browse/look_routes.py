"""The routes that look into the catalogue: items like one, search by words, and attributes."""

import time
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError

from rqrec.models.array_types import IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.service.browse.search import Hit
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.contract.browse import (
    MAX_FILTER_TEXT,
    AttributesReply,
    By,
    K,
    SearchReply,
    SearchRequest,
    SimilarReply,
)
from rqrec.service.contract.filter import Condition, Filter
from rqrec.service.http.bodies import read_json
from rqrec.service.http.browse.item_routes import place_of
from rqrec.service.http.dependencies import SIMILAR, ItemIdInPath, ModelNow, RuntimeNow
from rqrec.service.http.openapi import json_body
from rqrec.service.http.problems import (
    DEADLINE,
    INVALID,
    NOT_READY,
    OVERLOADED,
    TOO_LARGE,
    UNKNOWN_ITEM,
    UNSUPPORTED_ENCODING,
    declared,
)
from rqrec.service.serving.served_model import ServedModel

router = APIRouter(tags=["catalogue"])
JSON = "application/json"
FILTER = TypeAdapter[Mapping[str, Condition]](Filter)
FilterText = Annotated[
    str | None,
    Query(
        alias="filter",
        max_length=MAX_FILTER_TEXT,
        description="The filter of POST /recommend as JSON, percent-encoded: an item must meet all conditions.",
        examples=['{"genres": {"any_of": ["Comedy"]}}'],
    ),
]


@router.get(
    "/items/{item_id:path}" + SIMILAR,
    response_model=SimilarReply,
    responses=declared(UNKNOWN_ITEM, INVALID, OVERLOADED, NOT_READY, DEADLINE),
)
async def get_similar(
    item_id: ItemIdInPath,
    runtime: RuntimeNow,
    model: ModelNow,
    by: Annotated[By, Query(description="What is compared; `prefix` is that of the semantic IDs.")] = "vector",
    k: Annotated[K, Query()] = 10,
    filter_text: FilterText = None,
) -> Response:
    """Lists the items that are most like one item.

    `vector` compares what the model learnt from users' choices. `content` compares attributes and texts. `prefix`
    prefers the longest common prefix of the semantic IDs, and then the nearest vector.

    Args:
        item_id: Id of the item.
        runtime: The running service.
        model: The active model.
        by: What is compared.
        k: How many items to return.
        filter_text: Conditions by attribute, as JSON.
    """
    snapshot = model.snapshot
    place = int(place_of(snapshot, item_id)[0])
    eligible = await runtime.eligibility(snapshot, _filter(filter_text))
    return Response(await runtime.browse(_similar, model, snapshot, item_id, place, by, k, eligible), media_type=JSON)


def _similar(
    model: ServedModel, snapshot: Snapshot, item_id: str, place: int, by: By, k: int, eligible: Eligibility
) -> bytes:
    """A `SimilarReply` as JSON."""
    found = model.browser.similar.find(snapshot, place, by, k, eligible)
    more = [{"score": score} for score in found.scores_K.tolist()]
    items = _items(snapshot, found.places_K, more)
    return orjson.dumps({"item_id": item_id, "by": by, "model_version": snapshot.version, "items": items})


@router.post(
    "/search",
    response_model=SearchReply,
    responses=declared(TOO_LARGE, UNSUPPORTED_ENCODING, INVALID, OVERLOADED, NOT_READY, DEADLINE),
    openapi_extra=json_body(SearchRequest),
)
async def post_search(request: Request, runtime: RuntimeNow, model: ModelNow) -> Response:
    """Finds items by words: titles that have the words, and items alike in meaning.

    The last word may be unfinished, so that a search box can ask while its user types. A bundle without a text encoder
    finds titles alone.

    Args:
        request: The request; its body is a `SearchRequest`.
        runtime: The running service.
        model: The active model.
    """
    begin = time.perf_counter()
    wanted = await read_json(request.scope, request.receive, runtime, SearchRequest)
    snapshot = model.snapshot
    eligible = await runtime.eligibility(snapshot, wanted.filter)
    hits = await runtime.browse(model.browser.words.find, snapshot, wanted.query, wanted.k, eligible)
    return Response(_search_reply(snapshot, hits, begin), media_type=JSON)


def _search_reply(snapshot: Snapshot, hits: list[Hit], begin: float) -> bytes:
    """A `SearchReply` as JSON."""
    places = np.array([hit.place for hit in hits], dtype=np.int64)
    items = _items(snapshot, places, ({"score": hit.score, "match": hit.match} for hit in hits))
    took_ms = (time.perf_counter() - begin) * 1000
    return orjson.dumps({"model_version": snapshot.version, "took_ms": took_ms, "items": items})


@router.get("/attributes", response_model=AttributesReply, responses=declared(OVERLOADED, NOT_READY, DEADLINE))
async def get_attributes(runtime: RuntimeNow, model: ModelNow) -> Response:
    """Lists the attributes of the items, and what filters can be made of them.

    Args:
        runtime: The running service.
        model: The active model.
    """
    return Response(await runtime.browse(_attributes, model, model.snapshot), media_type=JSON)


def _attributes(model: ServedModel, snapshot: Snapshot) -> bytes:
    """An `AttributesReply` as JSON."""
    attributes = [
        {
            "name": one.name,
            "kind": one.kind,
            "values": [{"value": value, "count": count} for value, count in one.values],
            "min": one.smallest,
            "max": one.largest,
            "filterable": one.is_filterable,
        }
        for one in model.browser.attributes.describe(snapshot)
    ]
    return orjson.dumps({"model_version": snapshot.version, "attributes": attributes})


def _filter(text: str | None) -> Mapping[str, Condition]:
    """Reads a filter from the query of a URL."""
    if text is None:
        return {}
    try:
        return FILTER.validate_json(text, strict=True)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**one, "loc": ("query", "filter", *one["loc"])} for one in faults]) from error


def _items(snapshot: Snapshot, places_K: IntArray, more: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The items at some places, each with more fields."""
    rows = zip(snapshot.table.items(places_K), snapshot.table.codes_of(places_K).tolist(), more, strict=True)
    return [
        {"item_id": item.item_id, **fields, "semantic_id": codes, "payload": orjson.Fragment(item.payload)}
        for item, codes, fields in rows
    ]
