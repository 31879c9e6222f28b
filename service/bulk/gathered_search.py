"""Runs the searches of many answers together, without an event loop.

An answer is a coroutine that waits for nothing but its searches (`service.serving.recommending.answer`). The service
lets each search wait in a queue. Here all answers run until each of them waits for a search. Then all these searches
run in batches, and the answers go on with their results. Most answers need one search. Answers with list control may
need several.
"""

from collections import defaultdict
from collections.abc import Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from rqrec.models.search.eligibility import Eligibility
from rqrec.service.catalogue.filter_conditions import FilterTerm
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.contract.filter import Condition
from rqrec.service.search.batch_search import Key, Result, Work, search
from rqrec.service.serving.runtime import RequestLimits
from rqrec.service.telemetry import Metrics

BATCH = 128  # searches; larger batches leave the processor's cache, and take longer for each search
AnswerT = TypeVar("AnswerT")


class _Search(NamedTuple):
    """A search for whose result a coroutine waits."""

    key: Key
    work: Work

    def __await__(self) -> Generator["_Search", Result, Result]:
        result = yield self
        return result


class GatheredSearches:
    """Stands in the place of the service's batcher: lets `run_together` run the searches."""

    async def submit(self, key: Key, work: Work, *, client: str = "", weight: int = 1) -> Result:  # noqa: ARG002
        """Waits for the result of one search. Only a coroutine that `run_together` runs may call this.

        Args:
            key: Batch key: only work with equal keys runs in the same batch.
            work: The work.
            client: Has no effect here.
            weight: Has no effect here.
        """
        return await _Search(key, work)


@dataclass(frozen=True)
class BulkRuntime:
    """What answers need around their model, in place of the service's `Runtime`.

    Attributes:
        batcher: Runs searches in batches.
        metrics: The metrics, which nobody reads.
        limits: Limits and default values of one request.
        conditions: The conditions of the filter that all requests share.
        eligible: The items that meet these conditions.
    """

    batcher: GatheredSearches
    metrics: Metrics
    limits: RequestLimits
    conditions: Mapping[str, Condition]
    eligible: Eligibility

    async def eligibility(
        self, snapshot: Snapshot, conditions: Mapping[str, Condition], further: Sequence[FilterTerm] = ()
    ) -> Eligibility:
        """Finds the items that meet every condition of a filter, without waiting.

        Args:
            snapshot: The state of the catalogue.
            conditions: The conditions, by the name of the attribute. Without conditions, all items are eligible.
            further: Terms that the items must pass too.
        """
        if conditions is self.conditions and not further:
            return self.eligible
        return eligible_items(snapshot, conditions, further)


def eligible_items(
    snapshot: Snapshot, conditions: Mapping[str, Condition], further: Sequence[FilterTerm] = ()
) -> Eligibility:
    """Finds the items that meet every condition of a filter, with what searches among them need.

    Args:
        snapshot: The state of the catalogue.
        conditions: The conditions, by the name of the attribute. Without conditions, all items are eligible.
        further: Terms that the items must pass too.

    Raises:
        InvalidFilter: If an attribute is unknown, or its type does not fit its condition.
    """
    if not conditions and not further:
        return snapshot.recommender.everything
    return snapshot.filters.eligibility(conditions, further)


def run_together(answers: Sequence[Coroutine[Any, Any, AnswerT]]) -> list[AnswerT]:
    """Runs coroutines that wait for nothing but `GatheredSearches.submit`, and returns their results in their order.

    Args:
        answers: The coroutines.
    """
    results: dict[int, AnswerT] = {}
    found: list[tuple[int, Result | None]] = [(number, None) for number in range(len(answers))]
    while found:
        waiting = defaultdict[Key, list[tuple[int, Work]]](list)
        for number, result in found:
            try:
                asked = answers[number].send(result)
            except StopIteration as ended:
                results[number] = ended.value
            else:
                waiting[asked.key].append((number, asked.work))
        found = [pair for key, asked in waiting.items() for pair in _searched(key, asked)]
    return [results[number] for number in range(len(answers))]


def _searched(key: Key, asked: list[tuple[int, Work]]) -> list[tuple[int, Result]]:
    """The results of searches with one key. Histories of about one length share a batch, so that padding is short."""
    asked.sort(key=lambda one: len(one[1].history))
    found: list[tuple[int, Result]] = []
    for begin in range(0, len(asked), BATCH):
        numbers, batch = zip(*asked[begin : begin + BATCH], strict=True)
        found += zip(numbers, search(key, batch), strict=True)
    return found
