"""The public routes: recommendations, items, probes and metrics."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.types import Receive, Scope

from rqrec.models.array_types import IntArray
from rqrec.models.trie.semantic_ids import parse_semantic_id
from rqrec.service.admission.request_context import context_of
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.contract import RecommendRequest
from rqrec.service.errors import InvalidPart, TooLarge, UnknownItem
from rqrec.service.http.bodies import read_json
from rqrec.service.http.dependencies import SEMANTIC_ID, ItemIdInPath, ModelNow, RuntimeNow
from rqrec.service.http.openapi import json_body
from rqrec.service.http.problems import (
    DEADLINE,
    INVALID,
    NOT_READY,
    OVERLOADED,
    STORE_UNAVAILABLE,
    TOO_LARGE,
    UNKNOWN_ITEM,
    UNSUPPORTED_ENCODING,
    declared,
)
from rqrec.service.reply_contract import (
    MAX_PAGE,
    Health,
    ItemPage,
    ItemReply,
    Readiness,
    RecommendReply,
    SemanticIdReply,
)
from rqrec.service.serving.recommend import recommend
from rqrec.service.serving.runtime import Runtime

router = APIRouter()
RECOMMEND, HEALTH = "/recommend", "/healthz"
SMALL_PAGE = 100  # items; making a page of a thousand takes milliseconds
JSON = "application/json"


@router.post(
    RECOMMEND,
    tags=["recommendations"],
    response_model=RecommendReply,
    responses=declared(TOO_LARGE, UNSUPPORTED_ENCODING, INVALID, OVERLOADED, NOT_READY, STORE_UNAVAILABLE, DEADLINE),
    openapi_extra=json_body(RecommendRequest),
)
async def post_recommend(request: Request) -> Response:
    """Recommends the next items after a history, which is given, stored for a user, or both.

    History ids that are not in the catalogue are skipped and listed in the reply. If no history item is left, the reply
    has the most popular items.
    """
    return Response(await answer_recommend(request.scope, request.receive, request.app.state.runtime), media_type=JSON)


async def answer_recommend(scope: Scope, receive: Receive, runtime: Runtime) -> bytes:
    """Answers POST /recommend.

    Args:
        scope: The request's ASGI scope.
        receive: ASGI's `receive`, which returns the parts of the request's body.
        runtime: The running service.

    Returns:
        A `RecommendReply` as JSON.

    Raises:
        Exception: An error of `service.errors`, or RequestValidationError if the body is invalid.
    """
    deployment, max_items = runtime.deployment, runtime.limits.max_history_items
    request = await read_json(scope, receive, runtime, RecommendRequest)
    if request.user_id is None:
        _check_without_user(request)
    for name, ids in (("history", request.history), ("exclude", request.exclude)):
        if len(ids) > max_items:
            raise TooLarge(f"{name} may have at most {max_items} items, got {len(ids)}")
    return await recommend(request, runtime, deployment, context_of(scope))


def _check_without_user(request: RecommendRequest) -> None:
    if "history" not in request.model_fields_set:
        raise InvalidPart(("history",), "expected a history, a user_id, or both, got neither")
    if request.exclude_types or request.exclude_shown_s is not None:
        name = "exclude_types" if request.exclude_types else "exclude_shown_s"
        raise InvalidPart((name,), "expected a user_id beside it, got none")


@router.get(
    "/items/{item_id:path}" + SEMANTIC_ID,
    tags=["catalogue"],
    responses=declared(UNKNOWN_ITEM, INVALID, OVERLOADED, NOT_READY),
)
async def get_semantic_id(item_id: ItemIdInPath, model: ModelNow) -> SemanticIdReply:
    """Returns an item's semantic ID.

    Args:
        item_id: Id of the item.
        model: The active model.
    """
    snapshot = model.snapshot
    place = _place(snapshot, item_id)
    codes = snapshot.table.codes_of(place)[0].tolist()
    return SemanticIdReply(item_id=item_id, semantic_id=codes, model_version=snapshot.version)


@router.get(
    "/items/{item_id:path}", tags=["catalogue"], responses=declared(UNKNOWN_ITEM, INVALID, OVERLOADED, NOT_READY)
)
async def get_item(item_id: ItemIdInPath, model: ModelNow) -> ItemReply:
    """Returns an item's attributes and semantic ID.

    Args:
        item_id: Id of the item.
        model: The active model.
    """
    snapshot = model.snapshot
    place = _place(snapshot, item_id)
    codes = snapshot.table.codes_of(place).tolist()
    (item,) = snapshot.table.items(place)
    return ItemReply(item_id=item_id, semantic_id=codes[0], model_version=snapshot.version, payload=item.attributes)


@router.get(
    "/semantic-ids/{prefix}/items",
    tags=["catalogue"],
    responses=declared(INVALID, OVERLOADED, NOT_READY),
)
async def get_items_below(
    runtime: RuntimeNow,
    model: ModelNow,
    prefix: Annotated[str, Path(pattern=r"^[0-9]{1,9}(-[0-9]{1,9})*$", max_length=256, examples=["12-7"])],
    offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
) -> ItemPage:
    """Lists the items whose semantic IDs begin with a prefix, page by page.

    Args:
        runtime: The running service.
        model: The active model.
        prefix: The first codes of the semantic IDs, joined by hyphens.
        offset: Index of the first item of the page.
        limit: Most items of the page.
    """
    if limit > SMALL_PAGE:
        async with runtime.long_turn():
            return _page(model.snapshot, prefix, offset, limit)
    return _page(model.snapshot, prefix, offset, limit)


def _page(snapshot: Snapshot, prefix: str, offset: int, limit: int) -> ItemPage:
    below = snapshot.table.below(parse_semantic_id(prefix))  # places: positions of items
    places = below[offset : offset + limit]
    items, codes = snapshot.table.items(places), snapshot.table.codes_of(places).tolist()
    return ItemPage(
        items=[
            SemanticIdReply(item_id=item.item_id, semantic_id=row, model_version=snapshot.version)
            for item, row in zip(items, codes, strict=True)
        ],
        total=len(below),
        next_offset=offset + limit if offset + limit < len(below) else None,
    )


@router.get(HEALTH, tags=["operation"])
async def get_health() -> Health:
    """Answers 200 while the process is alive."""
    return Health()


@router.get("/readyz", tags=["operation"], responses=declared(NOT_READY))
async def get_readiness(runtime: RuntimeNow, model: ModelNow) -> Readiness:
    """Answers 200 when a model is loaded and warmed up, the search runs, and the service is not shutting down.

    Args:
        runtime: The running service.
        model: The active model.
    """
    runtime.check_ready()
    return Readiness(model_version=model.snapshot.version, catalogue_version=model.snapshot.catalogue_version)


@router.get("/metrics", tags=["operation"], response_class=Response)
async def get_metrics(runtime: RuntimeNow) -> Response:
    """Returns the metrics in Prometheus' text format."""
    return Response(await runtime.metrics.page.text(), media_type=CONTENT_TYPE_LATEST)


def _place(snapshot: Snapshot, item_id: str) -> IntArray:
    """The place of an item, its position in the catalogue, as an array of one."""
    place = snapshot.table.find([item_id])
    if place[0] < 0:
        raise UnknownItem(f"the catalogue holds no item {item_id!r}")
    return place
