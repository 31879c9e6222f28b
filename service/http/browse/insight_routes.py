"""The routes of what helps people to understand a model: the tree of semantic IDs, and the map of items."""

from typing import Annotated, Any

import numpy as np
import orjson
from fastapi import APIRouter, Query
from fastapi.responses import Response

from rqrec.models.trie.semantic_ids import parse_semantic_id
from rqrec.service.catalogue.views.item_map import read_points
from rqrec.service.catalogue.views.meaning import meanings_of
from rqrec.service.catalogue.views.tree import read_node
from rqrec.service.contract.fields import ItemId
from rqrec.service.contract.item_map import MAX_POINTS, MAX_POINTS_BY_ID, ItemMapReply
from rqrec.service.contract.tree import TreeNode
from rqrec.service.errors import NoMap
from rqrec.service.http.dependencies import ModelNow, PrefixInPath, RuntimeNow
from rqrec.service.http.problems import DEADLINE, INVALID, NO_MAP, NOT_READY, OVERLOADED, declared
from rqrec.service.serving.served_model import ServedModel

router = APIRouter(tags=["insight"])
JSON = "application/json"


@router.get("/semantic-ids", response_model=TreeNode, responses=declared(OVERLOADED, NOT_READY, DEADLINE))
async def get_tree(runtime: RuntimeNow, model: ModelNow) -> Response:
    """Returns the root of the tree of semantic IDs: the first codes, how many items each has, and their meaning.

    Args:
        runtime: The running service.
        model: The active model.
    """
    async with runtime.long_turn():
        return _node(model, [])


@router.get(
    "/semantic-ids/{prefix}", response_model=TreeNode, responses=declared(INVALID, OVERLOADED, NOT_READY, DEADLINE)
)
async def get_tree_node(runtime: RuntimeNow, model: ModelNow, prefix: PrefixInPath) -> Response:
    """Returns a node of the tree of semantic IDs: the codes that follow a prefix, their numbers of items and meaning.

    Args:
        runtime: The running service.
        model: The active model.
        prefix: The first codes of the semantic IDs, joined by hyphens.
    """
    async with runtime.long_turn():
        return _node(model, parse_semantic_id(prefix))


@router.get("/map", response_model=ItemMapReply, responses=declared(NO_MAP, INVALID, OVERLOADED, NOT_READY, DEADLINE))
async def get_map(
    runtime: RuntimeNow,
    model: ModelNow,
    limit: Annotated[int, Query(ge=1, le=MAX_POINTS)] = 5000,
    attribute: Annotated[str | None, Query(max_length=256, examples=["genres"])] = None,
    items: Annotated[list[ItemId], Query(max_length=MAX_POINTS_BY_ID)] = [],  # noqa: B006 - FastAPI copies it
) -> Response:
    """Returns a map of the items: a point in the plane for each, so that items with similar vectors are near.

    With more items than `limit`, the answer is a sample, the same each time. Items that were written after publishing
    and are new have no place on the map.

    Args:
        runtime: The running service.
        model: The active model.
        limit: Most points besides `items`.
        attribute: The attribute of which each item's value is returned.
        items: Ids of items that are returned in any case, first.
    """
    if model.bundle.map is None:
        raise NoMap("the bundle of this model has no map: publish it again with `rqrec train`, which adds one")
    async with runtime.long_turn():
        snapshot = model.snapshot
        points = read_points(snapshot.table, model.bundle, limit=limit, attribute=attribute, item_ids=items)
        xs, ys = points.places_M2.astype(np.float64).round(4).T.tolist()
        return _json(
            {
                "model_version": snapshot.version,
                "num_items": len(snapshot.table),
                "item_ids": points.item_ids,
                "xs": xs,
                "ys": ys,
                "codes": points.codes_M.tolist(),
                "values": points.values,
            }
        )


def _node(model: ServedModel, prefix: list[int]) -> Response:
    snapshot, known = model.snapshot, model.bundle.meanings
    node = read_node(snapshot.table, prefix)
    own_1L = np.array([prefix], dtype=np.int64)
    below_CL = np.column_stack([own_1L.repeat(len(node.codes_C), axis=0), node.codes_C])
    children = zip(node.codes_C.tolist(), node.counts_C.tolist(), meanings_of(known, below_CL), strict=True)
    return _json(
        {
            "model_version": snapshot.version,
            "prefix": prefix,
            "num_items": node.num_items,
            "meaning": meanings_of(known, own_1L)[0],
            "children": [{"code": code, "num_items": count, "meaning": one} for code, count, one in children],
        }
    )


def _json(fields: dict[str, Any]) -> Response:
    """An answer that pydantic does not check again, because it may have 20,000 entries."""
    return Response(orjson.dumps(fields), media_type=JSON)
