"""The routes: HTTP in, one call of the code that does the work, HTTP out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from service.catalogue import SemanticId
from service.engine import Engine, Snapshot
from service.errors import INVALID, NOT_READY, TOO_LARGE, UNKNOWN_ITEM, NotReady, TooLarge, UnknownItem, declared
from service.recommend import recommend
from service.schemas import Health, ItemReply, Readiness, RecommendReply, RecommendRequest, SemanticIdReply

router = APIRouter()
ItemIdInPath = Annotated[str, Path(max_length=256, examples=["1"])]


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


def _snapshot(engine: Annotated[Engine, Depends(_engine)]) -> Snapshot:
    if engine.snapshot is None:
        raise NotReady("the model is being loaded, or the service is shutting down: see /readyz")
    return engine.snapshot


EngineNow = Annotated[Engine, Depends(_engine)]
SnapshotNow = Annotated[Snapshot, Depends(_snapshot)]


@router.post("/recommend", tags=["recommendations"], responses=declared(TOO_LARGE, INVALID, NOT_READY))
async def post_recommend(body: RecommendRequest, engine: EngineNow, snapshot: SnapshotNow) -> RecommendReply:
    """Recommends the next items for one history.

    Ids that the catalogue does not hold are skipped and listed; if none is left, the most popular items are returned.
    """
    limit = engine.settings.max_history_items
    for name, ids in (("history", body.history), ("exclude", body.exclude)):
        if len(ids) > limit:
            raise TooLarge(f"{name} may have at most {limit} items, got {len(ids)}")
    return await recommend(body, engine, snapshot)


@router.get("/items/{item_id}/semantic-id", tags=["catalogue"], responses=declared(UNKNOWN_ITEM, INVALID, NOT_READY))
async def get_semantic_id(item_id: ItemIdInPath, snapshot: SnapshotNow) -> SemanticIdReply:
    """An item's semantic ID."""
    codes = await _semantic_id(snapshot, item_id)
    return SemanticIdReply(item_id=item_id, semantic_id=list(codes), model_version=snapshot.version)


@router.get("/items/{item_id}", tags=["catalogue"], responses=declared(UNKNOWN_ITEM, INVALID, NOT_READY))
async def get_item(item_id: ItemIdInPath, snapshot: SnapshotNow) -> ItemReply:
    """An item's attributes and semantic ID."""
    codes = await _semantic_id(snapshot, item_id)
    (item,) = (await snapshot.catalogue.items([codes])).values
    if item is None:
        raise UnknownItem(f"the catalogue holds no item {item_id!r}")
    return ItemReply(item_id=item_id, semantic_id=list(codes), model_version=snapshot.version, payload=item.payload)


@router.get("/healthz", tags=["operation"])
async def get_health() -> Health:
    """Whether the process is alive."""
    return Health()


@router.get("/readyz", tags=["operation"], responses=declared(NOT_READY))
async def get_readiness(snapshot: SnapshotNow) -> Readiness:
    """Whether a model is loaded and warmed up."""
    return Readiness(model_version=snapshot.version)


@router.get("/metrics", tags=["operation"], response_class=Response)
async def get_metrics(engine: EngineNow) -> Response:
    """Metrics for Prometheus."""
    return Response(generate_latest(engine.metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def _semantic_id(snapshot: Snapshot, item_id: str) -> SemanticId:
    (codes,) = (await snapshot.catalogue.semantic_ids([item_id])).values
    if codes is None:
        raise UnknownItem(f"the catalogue holds no item {item_id!r}")
    found: SemanticId = codes
    return found
