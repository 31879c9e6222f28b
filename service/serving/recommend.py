"""Answers one recommendation request: item ids → places → search → items.

The place of an item is its index in the catalogue: a leaf of the trie, or an index after all leaves for an item that
was written later.
"""

import asyncio
import functools
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import orjson

from rqrec.models.search.ranking import Ranking
from rqrec.service.admission.request_context import RequestContext
from rqrec.service.catalogue.item import Item
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.contract.recommend import RecommendRequest
from rqrec.service.errors import InvalidPart, RetryLater
from rqrec.service.events.event import Impression
from rqrec.service.ids import random_uuid
from rqrec.service.list_control.candidate_finder import CandidateFinder
from rqrec.service.list_control.controlled_list import ControlledList, beam_width_of, controlled_list
from rqrec.service.outcomes.health_recorder import HealthRecorder
from rqrec.service.outcomes.outcome_counts import Arm, bucket_of
from rqrec.service.search.candidate_search import CandidateSearch
from rqrec.service.serving.deployment import Deployment, Role
from rqrec.service.serving.runtime import Runtime
from rqrec.service.serving.served_model import ServedModel
from rqrec.service.telemetry import Metrics
from rqrec.service.users.users import Profile

Fallback = Literal["popular", "degraded"] | None
SHADOW = "shadow"  # name of the client in the search queue for searches of a shadow model


class _Answer(NamedTuple):
    """The answer of one model.

    Attributes:
        snapshot: The snapshot that was searched.
        best: The recommended places, best first.
        unknown: History ids that are not in the catalogue.
        eligible_items: Number of items that pass the filter and the exclusions.
        is_fallback: Whether the list is the most popular items.
        controlled: What list control has made, whose items are `best`; None without list control.
    """

    snapshot: Snapshot
    best: Ranking
    unknown: list[str]
    eligible_items: int
    is_fallback: bool
    controlled: ControlledList | None = None


async def recommend(
    request: RecommendRequest, runtime: Runtime, deployment: Deployment, context: RequestContext
) -> bytes:
    """Answers a recommendation request. The routing key of the request chooses the active model or the canary.

    The routing key is a text in the request, by default the user's id. If there is a shadow model for it, the request
    is also copied to the shadow model.

    Args:
        request: The validated body of the request.
        runtime: The running service.
        deployment: The loaded models with their roles.
        context: The context of the request, which can cancel this call.

    Returns:
        A `RecommendReply` as JSON.

    Raises:
        Overloaded: If so many requests are waiting that there is no room for a search of this beam width.
        InvalidPart: If a field about the user or the pages before is invalid.
        StoreUnavailable: If the pages before this one cannot be read.
        InvalidFilter: If the filter names an unknown attribute, or a condition does not fit the attribute's type.
    """
    weight = _weigh(request, runtime, context)
    begin, metrics = time.perf_counter(), runtime.metrics
    recommendation_id = random_uuid()
    profile = Profile(request.history, request.exclude)
    if request.user_id is not None or request.after is not None:
        profile = await runtime.users.profile(request)
    key = request.routing_key or request.user_id or recommendation_id
    asked_at = time.perf_counter()
    role, model = deployment.answering(key)
    with _failures_counted(deployment.health[role], context):
        answer = await _answer(request, profile, runtime, model, client=context.client, weight=weight)
    snapshot, best = answer.snapshot, answer.best
    with metrics.lookup_seconds.time():
        codes = snapshot.table.codes_of(best.leaves_K).tolist()
        items = snapshot.table.items(best.leaves_K)
    is_complete = model.is_current and profile.is_complete
    deployment.health[role].add_answer(time.perf_counter() - asked_at, is_short=len(items) < request.k)
    fallback: Fallback = "popular" if answer.is_fallback else None if is_complete else "degraded"
    _count(metrics, answer, role, fallback, k=request.k)
    item_ids = [item.item_id for item in items]
    if (shadow := deployment.shadow(key)) is not None:
        runtime.spawn_shadow(_compare(request, profile, runtime, shadow, item_ids))
    if request.user_id is not None or request.surface is not None or request.after is not None:
        arm, trial = Arm(snapshot.version, role.value), runtime.promotion.trial_of(deployment)
        runtime.users.record(_impression(request, recommendation_id, arm, item_ids, trial=trial, key=key))
    reply = {
        "recommendation_id": recommendation_id,
        "model_version": snapshot.version,
        "catalogue_version": snapshot.catalogue_version,
        "took_ms": (time.perf_counter() - begin) * 1000,
        "items": _ranked(items, codes, best),
        "unknown_items": answer.unknown,
        "eligible_items": answer.eligible_items,
        "fallback": fallback,
        "history_source": profile.source,
    }
    if answer.controlled is not None:
        _add_list_control(reply, answer.controlled, request.k)
    return orjson.dumps(reply)


def _weigh(request: RecommendRequest, runtime: Runtime, context: RequestContext) -> int:
    """Sets the deadline of a request, takes its places in the queue, and returns their number."""
    if request.timeout_ms is not None:
        context.set_timeout(request.timeout_ms / 1000)
    weight = search_weight(request, runtime.limits.beam_width)
    runtime.admission.weigh(context, weight)
    return weight


@contextmanager
def _failures_counted(health: HealthRecorder, context: RequestContext) -> Iterator[None]:
    """Counts an error of the block as one of the model, unless the client or the load of the service caused it."""
    try:
        yield
    except (InvalidPart, RetryLater):
        raise
    except asyncio.CancelledError:
        if context.deadline_has_passed:
            health.add_error()
        raise
    except Exception:
        health.add_error()
        raise


def _count(metrics: Metrics, answer: _Answer, role: Role, fallback: Fallback, *, k: int) -> None:
    """Counts an answer in the metrics."""
    metrics.answers.labels(role).inc()
    metrics.eligible_ratio.observe(answer.eligible_items / len(answer.snapshot.table))
    if answer.unknown:
        metrics.unknown_history_items.inc(len(answer.unknown))
    if len(answer.best.leaves_K) < k:
        metrics.short_results.inc()
    if fallback is not None:
        metrics.fallbacks.labels(fallback).inc()


def _impression(
    request: RecommendRequest,
    recommendation_id: str,
    arm: Arm,
    item_ids: Sequence[str],
    *,
    trial: int | None,
    key: str,
) -> Impression:
    """What is stored of an answer."""
    return Impression(
        recommendation_id=recommendation_id,
        user_id=request.user_id,
        surface=request.surface,
        model_version=arm.version,
        role=arm.role,
        item_ids=tuple(item_ids),
        at=time.time(),
        after=request.after,
        trial=trial,
        bucket=bucket_of(key),
    )


def search_weight(request: RecommendRequest, default_width: int) -> int:
    """Returns the cost of a request's search: its beam width in multiples of the default beam width, rounded up.

    A costly search takes more places in the queue of waiting requests.

    Args:
        request: The request.
        default_width: The beam width of a request that sets none.

    Returns:
        The cost, at least 1.
    """
    return max(math.ceil(beam_width_of(request, default_width) / default_width), 1)


async def _answer(
    request: RecommendRequest, profile: Profile, runtime: Runtime, model: ServedModel, *, client: str, weight: int
) -> _Answer:
    """Searches with one model, or takes the popular items if no item of the history is known."""
    snapshot = model.snapshot
    metrics, table = runtime.metrics, snapshot.table
    beam_width = beam_width_of(request, runtime.limits.beam_width)
    with metrics.encode_seconds.time():
        item_ids, types, excluded_ids, in_session = model.event_types.read(profile.history, request.at)
        leaves = table.find([*item_ids, *profile.exclude, *excluded_ids])
        history = leaves[: len(item_ids)]
        known = history[history >= 0]
        eligibility = await runtime.eligibility(snapshot, request.filter)
        asked = request.exclude_history
        excludes_history = snapshot.exclude_history if asked is None else asked
        excluded = leaves if excludes_history else leaves[len(history) :]
        excluded = excluded[excluded >= 0]
        if request.filter:
            excluded = excluded[eligibility.allows(excluded)]
        num_excluded = len(set(excluded.tolist()))
    unknown = [item_id for item_id, leaf in zip(item_ids, history.tolist(), strict=True) if leaf < 0]
    types = None if types is None else types[history >= 0]
    search = CandidateSearch(snapshot, runtime.batcher, metrics, known, types, in_session, client, weight)
    controlled = None
    if request.controls_list:
        filtered = functools.partial(runtime.eligibility, snapshot)
        finder = CandidateFinder(search, request.filter, eligibility, filtered, beam_width)
        controlled = await controlled_list(request, snapshot, finder, excluded)
        best = controlled.best.ranking
    else:
        reserved = math.ceil(request.new_item_share * request.k)
        best = await search.best(eligibility, excluded, k=request.k, beam_width=beam_width, reserved=reserved)
    return _Answer(snapshot, best, unknown, eligibility.count - num_excluded, search.is_popular, controlled)


async def _compare(
    request: RecommendRequest, profile: Profile, runtime: Runtime, shadow: ServedModel, answered: Sequence[str]
) -> None:
    """Searches with the shadow model, and measures how many of the answered items its list shares."""
    async with asyncio.timeout(runtime.limits.timeout_s):
        weight = search_weight(request, runtime.limits.beam_width)
        answer = await _answer(request, profile, runtime, shadow, client=SHADOW, weight=weight)
    theirs = {item.item_id for item in answer.snapshot.table.items(answer.best.leaves_K)}
    if answered:
        runtime.metrics.shadow_overlap.observe(len(theirs.intersection(answered)) / len(answered))


def _ranked(items: Sequence[Item], codes: Sequence[list[int]], ranking: Ranking) -> list[dict[str, Any]]:
    """The fields of each `Recommendation`. Payloads are JSON in the table already, and are not parsed."""
    rows = zip(items, codes, ranking.log_probs_K.tolist(), ranking.scores_K.tolist(), strict=True)
    return [
        {
            "item_id": item.item_id,
            "rank": rank,
            "score": score,
            "log_prob": log_prob,
            "semantic_id": semantic_id,
            "payload": orjson.Fragment(item.payload),
        }
        for rank, (item, semantic_id, log_prob, score) in enumerate(rows, start=1)
    ]


def _add_list_control(reply: dict[str, Any], controlled: ControlledList, k: int) -> None:
    """Adds to a reply what only requests with list control get. JSON has null for the NaN of an unknown score."""
    for item, is_pinned in zip(reply["items"], controlled.best.is_pinned_K.tolist(), strict=True):
        item["pinned"] = is_pinned
    reply["list_control"] = {
        "unknown_pins": controlled.unknown_pins,
        "open_places": k - len(reply["items"]),
        "full_values": controlled.full_values,
    }
