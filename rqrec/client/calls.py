"""Describes the HTTP calls of the service. Each function returns a `Call`: a request, and the type of its answer.

No function here sends anything. `Client.send` sends a `Call`. For each function here, `Client` has a method with the
same name, which sends the call and returns the answer.
"""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

from pydantic import TypeAdapter

from rqrec.client.call import Call, checked
from rqrec.service.contract.admin import ActivateRequest, ModelList, WriteItemRequest, WrittenItem
from rqrec.service.contract.browse import AttributesReply, By, EvaluationReply, SearchReply, SearchRequest, SimilarReply
from rqrec.service.contract.events import EventsReply, EventsRequest, UserEvent, UserReply
from rqrec.service.contract.filter import Condition, Filter
from rqrec.service.contract.item_map import ItemMapReply
from rqrec.service.contract.list_control import Boost, Pin
from rqrec.service.contract.recommend import HistoryEntry, RecommendRequest
from rqrec.service.contract.replies import ItemPage, ItemReply, Readiness, RecommendReply, SemanticIdReply
from rqrec.service.contract.tree import TreeNode


def recommend(
    history: Sequence[str | HistoryEntry] | None = None,
    *,
    user_id: str | None = None,
    k: int = 10,
    at: float | datetime | None = None,
    exclude: Sequence[str] = (),
    exclude_types: Sequence[str] = (),
    exclude_shown_s: float | None = None,
    after: str | None = None,
    surface: str | None = None,
    exclude_history: bool | None = None,
    filter: Mapping[str, Mapping[str, Any]] | None = None,  # noqa: A002 - its name over HTTP
    new_item_share: float = 0.0,
    caps: Mapping[str, int] | None = None,
    boosts: Sequence[Boost | Mapping[str, Any]] = (),
    pins: Sequence[Pin | Mapping[str, Any]] = (),
    diversity: float = 0.0,
    routing_key: str | None = None,
    model_version: str | None = None,
    beam_width: int | None = None,
    explain: bool = False,
    timeout_ms: int | None = None,
) -> Call[RecommendReply]:
    """The call `POST /recommend`, which recommends the next items for a user's history. Give a history, a user or both.

    Args:
        history: Item ids, or entries with an item id, an event type and a time, oldest first; may be empty.
        user_id: The user, whose stored history comes before `history`.
        k: How many items to return, in [1, 100].
        at: When the items are wanted: seconds since 1970, or a time with a time zone; None for now. It counts only if
            the last entry of the history has a time.
        exclude: Ids of items that must not be returned.
        exclude_types: Items with an event of one of these types in the history must not be returned; needs `user_id`.
        exclude_shown_s: Items that the user was shown in so many seconds must not be returned; needs `user_id`.
        after: `recommendation_id` of the page before this one: no item of that page or of the pages before it is
            returned. The request of that page must have had a `user_id`, a `surface` or an `after`.
        surface: Short name of the place where the list is shown, such as `home`. It changes no list.
        exclude_history: True if items of the history must not be returned, False if they may be; None for the model's
            default.
        filter: Conditions by attribute, such as `{"year": {"gte": 1990}}`; an item must meet all of them.
        new_item_share: Share of the k results that is reserved for items without interactions in training, in [0, 1].
        caps: Largest number of items in the list with the same value, by attribute, such as `{"genres": 2}`.
        boosts: Factors on items that meet a condition, such as
            `{"filter": {"year": {"gte": 1990}}, "factor": 1.5}`.
        pins: Items at fixed ranks, such as `{"item_id": "1", "rank": 3}`, whatever the filter and exclusions say.
        diversity: How much it counts that an item is unlike the others in the list, in [0, 1].
        routing_key: Text, by default the user's id. It decides whether the active model answers or a canary (a new
            model that answers a share of the requests), and whether a shadow gets a copy (a new model whose answers are
            only measured). Equal keys get the same models. Without a key and a user, they are chosen at random.
        model_version: Version of the loaded model that answers, whatever its role; None to let the routing key choose.
            `readiness` names the loaded models. Such a list counts in no trial of a canary.
        beam_width: Number of beams kept at every level of the search, in [1, 500]; None for the service's default. If k
            is larger, k is used.
        explain: Whether to explain the list: what each history item adds to each score, and what the codes stand for.
        timeout_ms: Longest time for the answer, in milliseconds; None for the service's default.

    Raises:
        TypeError: If `history` or `exclude` is a text instead of a list.
        InvalidArgument: If an argument is not valid.
    """
    for name, ids in (("history", history), ("exclude", exclude)):
        if isinstance(ids, str):
            raise TypeError(f"{name} must be a list of item ids, got the text {ids!r}: write [{ids!r}]")
    fields: dict[str, Any] = {
        "k": k,
        "exclude": list(exclude),
        "filter": dict(filter or {}),
        "new_item_share": new_item_share,
        "routing_key": routing_key,
        "beam_width": beam_width,
        "timeout_ms": timeout_ms,
    }
    newer = {  # a service of 0.2 takes no null here
        "history": None if history is None else list(history),
        "user_id": user_id,
        "at": at,
        "exclude_types": list(exclude_types) or None,
        "exclude_shown_s": exclude_shown_s,
        "after": after,
        "surface": surface,
        "exclude_history": exclude_history,
        "model_version": model_version,
        "explain": explain or None,
        "caps": dict(caps) if caps else None,
        "boosts": list(boosts) or None,
        "pins": list(pins) or None,
        "diversity": diversity or None,
    }
    fields |= {name: value for name, value in newer.items() if value is not None}
    body = checked(RecommendRequest, fields)
    return Call("POST", "/recommend", RecommendReply, body)


def item(item_id: str) -> Call[ItemReply]:
    """The call `GET /items/{item_id}`, which returns an item's attributes and semantic ID."""
    return Call("GET", f"/items/{_quoted(item_id)}", ItemReply)


def semantic_id(item_id: str) -> Call[SemanticIdReply]:
    """The call `GET /items/{item_id}/semantic-id`, which returns an item's semantic ID."""
    return Call("GET", f"/items/{_quoted(item_id)}/semantic-id", SemanticIdReply)


def items_below(prefix: Sequence[int], *, offset: int = 0, limit: int = 100) -> Call[ItemPage]:
    """The call `GET /semantic-ids/{prefix}/items`, which lists the items whose semantic IDs begin with some codes.

    Args:
        prefix: The first codes of the semantic IDs, at least one.
        offset: Index of the first listed item, from 0.
        limit: Largest number of listed items, in [1, 1000].
    """
    codes = "-".join(map(str, prefix))
    return Call("GET", f"/semantic-ids/{codes}/items", ItemPage, query={"offset": offset, "limit": limit})


def similar(
    item_id: str,
    *,
    by: By = "vector",
    k: int = 10,
    filter: Mapping[str, Mapping[str, Any]] | None = None,  # noqa: A002 - its name over HTTP
) -> Call[SimilarReply]:
    """The call `GET /items/{item_id}/similar`, which lists the items that are most like one item.

    Args:
        item_id: Id of the item.
        by: What is compared. `vector`: what the model learnt from users' choices. `content`: attributes and texts.
            `prefix`: the longest common prefix of the semantic IDs, and then the learnt vectors.
        k: How many items to return, in [1, 100].
        filter: Conditions by attribute, as for `recommend`; as JSON at most 1024 characters.

    Raises:
        InvalidArgument: If a condition is not valid.
    """
    query: dict[str, int | str] = {"by": by, "k": k}
    if filter:
        conditions = TypeAdapter[Mapping[str, Condition]](Filter)
        query["filter"] = conditions.dump_json(checked(Filter, filter), exclude_unset=True).decode()
    return Call("GET", f"/items/{_quoted(item_id)}/similar", SimilarReply, query=query)


def search(
    query: str,
    *,
    k: int = 10,
    filter: Mapping[str, Mapping[str, Any]] | None = None,  # noqa: A002 - its name over HTTP
) -> Call[SearchReply]:
    """The call `POST /search`, which finds items by words: in titles, and by meaning.

    Args:
        query: The words, at most 256 characters. The last word may be unfinished.
        k: How many items to return, in [1, 100].
        filter: Conditions by attribute, as for `recommend`.

    Raises:
        InvalidArgument: If an argument is not valid.
    """
    return Call(
        "POST", "/search", SearchReply, checked(SearchRequest, {"query": query, "k": k, "filter": filter or {}})
    )


def attributes() -> Call[AttributesReply]:
    """The call `GET /attributes`, which lists the attributes of the items, and what filters can be made of them."""
    return Call("GET", "/attributes", AttributesReply)


def tree(prefix: Sequence[int] = ()) -> Call[TreeNode]:
    """The call `GET /semantic-ids/{prefix}`, which returns a node of the tree of semantic IDs, by default its root.

    The argument has the first codes of semantic IDs.
    """
    return Call("GET", f"/semantic-ids/{'-'.join(map(str, prefix))}".rstrip("/"), TreeNode)


def item_map(*, limit: int = 5000, attribute: str | None = None, items: Sequence[str] = ()) -> Call[ItemMapReply]:
    """The call `GET /map`, which returns the items' places on a map of the catalogue.

    Args:
        limit: Largest number of items besides `items`, in [1, 20000]; the answer is a sample if there are more.
        attribute: The attribute of which each item's value is returned; None for none.
        items: Ids of at most 100 items that are returned in any case, first.
    """
    query: dict[str, int | str | Sequence[str]] = {"limit": limit, "items": list(items)}
    return Call("GET", "/map", ItemMapReply, query=query if attribute is None else {**query, "attribute": attribute})


def evaluation(version: str) -> Call[EvaluationReply]:
    """The call `GET /models/{version}/evaluation`, which returns the accuracy that a loaded model had at training."""
    return Call("GET", f"/models/{_quoted(version)}/evaluation", EvaluationReply)


def put_item(
    item_id: str, attributes: Mapping[str, Any], *, text_vector: Sequence[float] | None = None
) -> Call[WrittenItem]:
    """The call `PUT /items/{item_id}`, which adds or replaces an item. Needs the admin token.

    Args:
        item_id: Id of the item.
        attributes: The item's attributes by name; attributes that are left out are removed.
        text_vector: Embedding of the item's text; None to let the service compute it.
    """
    vector = list(text_vector) if text_vector is not None else None
    body = checked(WriteItemRequest, {"attributes": dict(attributes), "text_vector": vector})
    return Call("PUT", f"/items/{_quoted(item_id)}", WrittenItem, body)


def delete_item(item_id: str) -> Call[None]:
    """The call `DELETE /items/{item_id}`, which deletes an item. Needs the admin token."""
    return Call("DELETE", f"/items/{_quoted(item_id)}", type(None))


def models() -> Call[ModelList]:
    """The call `GET /models`, which lists the published models (bundles) with their roles. Needs the admin token."""
    return Call("GET", "/models", ModelList)


def activate(
    version: str, *, part: Literal["active", "canary", "shadow"] = "active", percent: float | None = None
) -> Call[ModelList]:
    """The call `POST /models/{version}/activate`, which gives a model a role. Needs the admin token.

    Args:
        version: Version of the model.
        part: The new role of the model. `active`: it answers all requests. `canary`: it answers a share of the
            requests. `shadow`: it gets a copy of a share of the requests, and its answers are only measured.
        percent: The share of a canary or shadow, as a percentage of the routing keys (see `recommend`), in (0, 100].
            A canary needs it. None is 100 for a shadow. `active` has none, or 100.
    """
    body = checked(ActivateRequest, {"part": part} | ({} if percent is None else {"percent": percent}))
    return Call("POST", f"/models/{_quoted(version)}/activate", ModelList, body)


def send_events(events: Sequence[UserEvent | Mapping[str, Any]]) -> Call[EventsReply]:
    """The call `POST /events`, which stores what users did. An event without an `event_id` gets a random one.

    So the call can be repeated: the service counts an event with the same id once.

    Args:
        events: At most 1000 events. Each is a `UserEvent`, or a mapping with its fields. The reply names those that are
            faulty; the others are stored.
    """
    fields = [one.model_dump(exclude_unset=True) if isinstance(one, UserEvent) else dict(one) for one in events]
    body = checked(EventsRequest, {"events": [{"event_id": str(uuid.uuid4()), **one} for one in fields]})
    return Call("POST", "/events", EventsReply, body)


def user(user_id: str, *, after: str | None = None, limit: int = 1000) -> Call[UserReply]:
    """The call `GET /users/{user_id}`, which returns all that is stored of a user, page by page. Needs the admin token.

    Args:
        user_id: Id of the user.
        after: `next_after` of the page before; None for the first page.
        limit: Largest number of events of the page, in [1, 1000].
    """
    query: dict[str, int | str] = {"limit": limit}
    return Call(
        "GET", f"/users/{_quoted(user_id)}", UserReply, query=query if after is None else {**query, "after": after}
    )


def forget_user(user_id: str) -> Call[None]:
    """The call `DELETE /users/{user_id}`, which deletes all that is stored of a user. Needs the admin token."""
    return Call("DELETE", f"/users/{_quoted(user_id)}", type(None))


def readiness() -> Call[Readiness]:
    """The call `GET /readyz`, which checks whether the service is ready. Raises `ProblemError` while it is not."""
    return Call("GET", "/readyz", Readiness)


def _quoted(part: str) -> str:
    return quote(part, safe="")
