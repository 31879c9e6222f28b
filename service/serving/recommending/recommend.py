"""Answers one recommendation request: chooses the model, and makes the reply and the impression of its answer."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import orjson

from rqrec.models.array_types import IntArray
from rqrec.service.admission.request_context import RequestContext
from rqrec.service.catalogue.item import Item
from rqrec.service.contract.recommend import RecommendRequest
from rqrec.service.errors import InvalidPart, RetryLater
from rqrec.service.events.event import Impression
from rqrec.service.ids import uuid_by_time
from rqrec.service.list_control.controlled_list import ControlledList
from rqrec.service.outcomes.health_recorder import HealthRecorder
from rqrec.service.outcomes.outcome_counts import bucket_of
from rqrec.service.serving.deployment import Choice, Deployment, Role
from rqrec.service.serving.recommending.answer import Answer, answer
from rqrec.service.serving.recommending.explained_list import explanations
from rqrec.service.serving.recommending.weights import explanation_weight, search_weight
from rqrec.service.serving.runtime import Runtime
from rqrec.service.serving.served_model import ServedModel
from rqrec.service.telemetry import Metrics
from rqrec.service.users.users import Profile

Fallback = Literal["popular", "degraded"] | None
SHADOW = "shadow"  # name of the client in the search queue for searches of a shadow model


async def recommend(
    request: RecommendRequest, runtime: Runtime, deployment: Deployment, context: RequestContext
) -> bytes:
    """Answers a recommendation request with the model that it names, or that its routing key chooses.

    The routing key is a text in the request, by default the user's id. It chooses the active model or the canary. If
    there is a shadow model for it, the request is also copied to the shadow model.

    Args:
        request: The validated body of the request.
        runtime: The running service.
        deployment: The loaded models with their roles.
        context: The context of the request, which can cancel this call.

    Returns:
        A `RecommendReply` as JSON.

    Raises:
        Overloaded: If so many requests are waiting that there is no room for a search of this beam width.
        InvalidPart: If no loaded model has the named version, or a field about the user or the pages before is invalid.
        StoreUnavailable: If the pages before this one cannot be read.
        InvalidFilter: If the filter names an unknown attribute, or a condition does not fit the attribute's type.
    """
    begin, metrics, recommendation_id = time.perf_counter(), runtime.metrics, uuid_by_time()
    key = request.routing_key or request.user_id or recommendation_id
    choice = deployment.choice(key, request.model_version)
    _weigh(request, runtime, choice.model, context)
    profile = Profile(request.history, request.exclude)
    if request.user_id is not None or request.after is not None:
        profile = await runtime.users.profile(request)
    asked_at = time.perf_counter()
    with _failures_counted(choice.health, context):
        answered = await answer(request, profile, runtime, choice.model, client=context.client)
    snapshot, best = answered.snapshot, answered.best
    with metrics.lookup_seconds.time():
        codes_KL = snapshot.table.codes_of(best.leaves_K)
        items = snapshot.table.items(best.leaves_K)
    is_complete = choice.model.is_current and profile.is_complete
    choice.health.add_answer(time.perf_counter() - asked_at, is_short=len(items) < request.k)
    fallback: Fallback = "popular" if answered.is_fallback else None if is_complete else "degraded"
    _count(metrics, answered, choice.role, fallback, k=request.k)
    item_ids = [item.item_id for item in items]
    if choice.shadow is not None:
        runtime.spawn_shadow(_compare(request, profile, runtime, choice.shadow, item_ids))
    if request.user_id is not None or request.surface is not None or request.after is not None:
        trial = runtime.promotion.trial_of(deployment) if choice.is_sample else None
        runtime.users.record(_impression(request, recommendation_id, choice, item_ids, trial=trial, key=key))
    reply = {
        "recommendation_id": recommendation_id,
        "model_version": snapshot.version,
        "catalogue_version": snapshot.catalogue_version,
        "took_ms": (time.perf_counter() - begin) * 1000,
        "items": _ranked(items, codes_KL.tolist(), answered),
        "unknown_items": answered.unknown,
        "eligible_items": answered.eligible_items,
        "fallback": fallback,
        "history_source": profile.source,
    }
    if request.explain:
        await _add_explanations(reply, answered, items, codes_KL, choice.model, runtime)
    if answered.controlled is not None:
        _add_list_control(reply, answered.controlled, request.k)
    return orjson.dumps(reply)


def _weigh(request: RecommendRequest, runtime: Runtime, model: ServedModel, context: RequestContext) -> None:
    """Sets the deadline of a request, and takes its places in the queue."""
    if request.timeout_ms is not None:
        context.set_timeout(request.timeout_ms / 1000)
    width, max_history = runtime.limits.beam_width, model.snapshot.recommender.max_history
    weight = search_weight(request, width) + explanation_weight(request, max_history)
    runtime.admission.weigh(context, weight)


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


def _count(metrics: Metrics, answered: Answer, role: Role, fallback: Fallback, *, k: int) -> None:
    """Counts an answer in the metrics."""
    metrics.answers.labels(role).inc()
    metrics.eligible_ratio.observe(answered.eligible_items / len(answered.snapshot.table))
    if answered.unknown:
        metrics.unknown_history_items.inc(len(answered.unknown))
    if len(answered.best.leaves_K) < k:
        metrics.short_results.inc()
    if fallback is not None:
        metrics.fallbacks.labels(fallback).inc()


def _impression(
    request: RecommendRequest,
    recommendation_id: str,
    choice: Choice,
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
        model_version=choice.model.version,
        role=choice.role.value,
        item_ids=tuple(item_ids),
        at=time.time(),
        after=request.after,
        trial=trial,
        bucket=bucket_of(key),
    )


async def _compare(
    request: RecommendRequest, profile: Profile, runtime: Runtime, shadow: ServedModel, item_ids: Sequence[str]
) -> None:
    """Searches with the shadow model, and measures how many of the answered items its list shares."""
    request = request.model_copy(update={"explain": False})
    async with asyncio.timeout(runtime.limits.timeout_s):
        answered = await answer(request, profile, runtime, shadow, client=SHADOW)
    theirs = {item.item_id for item in answered.snapshot.table.items(answered.best.leaves_K)}
    if item_ids:
        runtime.metrics.shadow_overlap.observe(len(theirs.intersection(item_ids)) / len(item_ids))


def _ranked(items: Sequence[Item], codes: Sequence[list[int]], answered: Answer) -> list[dict[str, Any]]:
    """The fields of each `Recommendation`. Payloads are JSON in the table already, and are not parsed."""
    best = answered.best
    rows = zip(items, codes, best.log_probs_K.tolist(), best.scores_K.tolist(), strict=True)
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


async def _add_explanations(
    reply: dict[str, Any],
    answered: Answer,
    items: Sequence[Item],
    codes_KL: IntArray,
    model: ServedModel,
    runtime: Runtime,
) -> None:
    """Adds to a reply and its items what only explained lists have."""
    snapshot = answered.snapshot
    async with runtime.long_turn():
        read = snapshot.table.items(answered.history[-snapshot.recommender.max_history :])
        explained = explanations(answered.explanation, read, items, codes_KL, model.bundle.meanings)
        for fields, one in zip(reply["items"], explained, strict=True):
            fields["explanation"] = one
        reply["beams"] = [prefixes.tolist() for prefixes in answered.beams] if answered.beams else None


def _add_list_control(reply: dict[str, Any], controlled: ControlledList, k: int) -> None:
    """Adds to a reply and its items what only lists with list control have. JSON has null for an unknown score."""
    for item, is_pinned in zip(reply["items"], controlled.best.is_pinned_K.tolist(), strict=True):
        item["pinned"] = is_pinned
    reply["list_control"] = {
        "unknown_pins": controlled.unknown_pins,
        "open_places": k - len(reply["items"]),
        "full_values": controlled.full_values,
    }
