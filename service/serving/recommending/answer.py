"""Answers a recommendation request with one model: item ids → places → search → list control → explanation.

The place of an item is its index in the catalogue: a leaf of the trie, or an index after all leaves for an item that
was written later.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from rqrec.models.array_types import IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.ranking import Explanation, Ranking
from rqrec.service.catalogue.filter_conditions import FilterTerm
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.contract.filter import Condition
from rqrec.service.contract.recommend import RecommendRequest
from rqrec.service.list_control.candidate_finder import CandidateFinder
from rqrec.service.list_control.controlled_list import (
    ControlledList,
    beam_width_of,
    controlled_list,
    further_candidates,
)
from rqrec.service.search.candidate_search import CandidateSearch, Searches
from rqrec.service.serving.history import EventTypes
from rqrec.service.serving.recommending.weights import explanation_weight, search_weight
from rqrec.service.serving.runtime import RequestLimits
from rqrec.service.telemetry import Metrics
from rqrec.service.users.users import Profile


class AnsweringModel(Protocol):
    """What an answer reads of its model: a `ServedModel`, or the model of a bulk run."""

    @property
    def snapshot(self) -> Snapshot:
        """The present state of the model's catalogue."""

    @property
    def event_types(self) -> EventTypes:
        """The event types that items of a history may have."""


class AnsweringRuntime(Protocol):
    """What an answer needs around its model: the `Runtime` of the service, or the searches of a bulk run."""

    @property
    def batcher(self) -> Searches:
        """Runs searches in batches."""

    @property
    def metrics(self) -> Metrics:
        """The metrics."""

    @property
    def limits(self) -> RequestLimits:
        """Limits and default values of one request."""

    async def eligibility(
        self, snapshot: Snapshot, conditions: Mapping[str, Condition], further: Sequence[FilterTerm] = ()
    ) -> Eligibility:
        """Finds the items that meet every condition of a filter.

        Args:
            snapshot: The state of the catalogue.
            conditions: The conditions, by the name of the attribute. Without conditions, all items are eligible.
            further: Terms that the items must pass too.
        """


class Answer(NamedTuple):
    """The answer of one model.

    Attributes:
        snapshot: The snapshot that was searched.
        best: The recommended places, best first.
        unknown: History ids that are not in the catalogue.
        eligible_items: Number of items that pass the filter and the exclusions.
        is_fallback: Whether the list is the most popular items.
        controlled: What list control has made, whose items are `best`; None without list control.
        history: Places of the history items that are in the catalogue, oldest first.
        beams: The prefixes that survived each level of the first search, if the list is explained; None in the popular
            fallback.
        explanation: Why the items are in the list; None if it is not explained, and in the popular fallback.
    """

    snapshot: Snapshot
    best: Ranking
    unknown: list[str]
    eligible_items: int
    is_fallback: bool
    controlled: ControlledList | None
    history: IntArray
    beams: Sequence[IntArray] | None
    explanation: Explanation | None


async def answer(
    request: RecommendRequest, profile: Profile, runtime: AnsweringRuntime, model: AnsweringModel, *, client: str
) -> Answer:
    """Searches with one model, or takes the popular items if no item of the history is known.

    Args:
        request: The request.
        profile: The history, and ids of items that must not be returned.
        runtime: The running service, or the searches of a bulk run.
        model: The model that answers.
        client: Name of the client in the search queue.

    Raises:
        InvalidFilter: If the filter does not fit the catalogue.
        InvalidPart: If a cap or the filter of a boost does not.
        NotReady: If the service is stopping.
    """
    snapshot = model.snapshot
    metrics, table = runtime.metrics, snapshot.table
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
    search = CandidateSearch(
        snapshot,
        runtime.batcher,
        metrics,
        history=known,
        types=types,
        in_session=in_session,
        client=client,
        weight=search_weight(request, runtime.limits.beam_width),
        keeps_beams=request.explain,
    )
    controlled, best = await _list(request, runtime, search, eligibility, excluded)
    explanation = None
    if request.explain and not search.is_popular:
        before = in_session  # the model does not read a last item that is unknown
        if history[-1] >= 0:
            before = model.event_types.in_session_before(profile.history, request.at)
        cost = explanation_weight(request, snapshot.recommender.max_history)
        explanation = await search.explained(best.leaves_K, in_session_before=before, weight=cost)
    num_eligible, is_fallback = eligibility.count - num_excluded, search.is_popular
    return Answer(snapshot, best, unknown, num_eligible, is_fallback, controlled, known, search.beams, explanation)


async def _list(
    request: RecommendRequest,
    runtime: AnsweringRuntime,
    search: CandidateSearch,
    eligibility: Eligibility,
    excluded: IntArray,
) -> tuple[ControlledList | None, Ranking]:
    """The list of a request, and what list control has made of it."""
    beam_width = beam_width_of(request, runtime.limits.beam_width)
    if request.controls_list:
        filtered = functools.partial(runtime.eligibility, search.snapshot)
        further = further_candidates(request)
        finder = CandidateFinder(search, request.filter, eligibility, filtered, beam_width, further)
        controlled = await controlled_list(request, search.snapshot, finder, excluded)
        return controlled, controlled.best.ranking
    reserved = math.ceil(request.new_item_share * request.k)
    best = await search.best(eligibility, excluded, k=request.k, beam_width=beam_width, reserved=reserved)
    return None, best
