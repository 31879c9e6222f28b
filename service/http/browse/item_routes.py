"""The routes of items and of semantic IDs."""

from typing import Annotated

from fastapi import APIRouter, Query

from rqrec.models.array_types import IntArray
from rqrec.models.trie.semantic_ids import parse_semantic_id
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.contract.replies import MAX_PAGE, ItemPage, ItemReply, SemanticIdReply
from rqrec.service.errors import UnknownItem
from rqrec.service.http.dependencies import SEMANTIC_ID, ItemIdInPath, ModelNow, PrefixInPath, RuntimeNow
from rqrec.service.http.problems import DEADLINE, INVALID, NOT_READY, OVERLOADED, UNKNOWN_ITEM, declared

router = APIRouter()
SMALL_PAGE = 100  # items; making a page of a thousand takes milliseconds


@router.get(
    "/items/{item_id:path}" + SEMANTIC_ID,
    tags=["catalogue"],
    responses=declared(UNKNOWN_ITEM, INVALID, OVERLOADED, NOT_READY, DEADLINE),
)
async def get_semantic_id(item_id: ItemIdInPath, model: ModelNow) -> SemanticIdReply:
    """Returns an item's semantic ID.

    Args:
        item_id: Id of the item.
        model: The active model.
    """
    snapshot = model.snapshot
    place = place_of(snapshot, item_id)
    codes = snapshot.table.codes_of(place)[0].tolist()
    return SemanticIdReply(item_id=item_id, semantic_id=codes, model_version=snapshot.version)


@router.get(
    "/items/{item_id:path}",
    tags=["catalogue"],
    responses=declared(UNKNOWN_ITEM, INVALID, OVERLOADED, NOT_READY, DEADLINE),
)
async def get_item(item_id: ItemIdInPath, model: ModelNow) -> ItemReply:
    """Returns an item's attributes and semantic ID.

    Args:
        item_id: Id of the item.
        model: The active model.
    """
    snapshot = model.snapshot
    place = place_of(snapshot, item_id)
    codes = snapshot.table.codes_of(place).tolist()
    (item,) = snapshot.table.items(place)
    return ItemReply(item_id=item_id, semantic_id=codes[0], model_version=snapshot.version, payload=item.attributes)


@router.get(
    "/semantic-ids/{prefix}/items",
    tags=["catalogue"],
    responses=declared(INVALID, OVERLOADED, NOT_READY, DEADLINE),
)
async def get_items_below(
    runtime: RuntimeNow,
    model: ModelNow,
    prefix: PrefixInPath,
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


def place_of(snapshot: Snapshot, item_id: str) -> IntArray:
    """Returns the place of an item, its position in the catalogue, as an array of one.

    Args:
        snapshot: The catalogue.
        item_id: Id of the item.

    Raises:
        UnknownItem: If the catalogue does not hold the item.
    """
    place = snapshot.table.find([item_id])
    if place[0] < 0:
        raise UnknownItem(f"the catalogue holds no item {item_id!r}")
    return place
