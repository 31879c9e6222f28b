"""The search of one request: the best items for its history, or the most popular items without a known history."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rqrec.models.array_types import IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.explanation import read_positions
from rqrec.models.search.ranking import Explanation, Ranking
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.search.batch_search import (
    ExplainKey,
    ExplainWork,
    Found,
    Key,
    Result,
    SearchWork,
    Work,
    search_key,
)
from rqrec.service.telemetry import Metrics

EXPLAINED_AT_ONCE = 20  # history items whose contributions are computed in one batch


class Searches(Protocol):
    """Runs searches in batches: the `Batcher` of the service, or what stands in its place for lists of many users."""

    async def submit(self, key: Key, work: Work, *, client: str = "", weight: int = 1) -> Result:
        """Waits for the result of one search; see `Batcher.submit`.

        Args:
            key: Batch key: only work with equal keys runs in the same batch.
            work: The work.
            client: Name of the client.
            weight: Weight of the work: what it costs, at least 1.
        """


@dataclass
class CandidateSearch:
    """Finds the best items for the history of one request, among different sets of items.

    Shape: T items in the request's history.

    Attributes:
        snapshot: The state of the model and its catalogue.
        batcher: Runs searches in batches.
        metrics: Counts returned items that are not eligible.
        history: Places (indices in the catalogue) of the known items of the history, oldest first, int64 of shape (T,).
            If it is empty, the most popular items are found, without a search.
        types: The event type of each history item, 0 for unknown; int64 of shape (T,). None if all are unknown.
        in_session: Whether the request belongs to the session of the last history item.
        client: Name of the client in the search queue.
        weight: Weight of each search in the queue.
        keeps_beams: Whether the first search keeps its beams.
        beams: For each depth, the prefixes that survived the first search, most probable first; None if it does not
            keep them.
    """

    snapshot: Snapshot
    batcher: Searches
    metrics: Metrics
    history: IntArray
    types: IntArray | None
    in_session: bool
    client: str
    weight: int
    keeps_beams: bool = False
    beams: Sequence[IntArray] | None = None

    @property
    def is_popular(self) -> bool:
        """Whether the most popular items are found, because no item of the history is known."""
        return not len(self.history)

    async def best(
        self,
        eligibility: Eligibility,
        excluded: IntArray,
        *,
        k: int,
        beam_width: int,
        reserved: int = 0,
        further: int = 0,
    ) -> Ranking:
        """Finds the k best eligible items, or fewer if fewer are eligible.

        Args:
            eligibility: The items that may be returned.
            excluded: Places (indices in the catalogue) of items that must not be returned, int64.
            k: Number of items to find.
            beam_width: Number of beams kept at every level of the search; k is used instead if k is larger.
            reserved: How many of the k items are reserved for items without interactions in training.
            further: How many items to add that the search did not find, with estimated scores. Without a known history,
                this many more popular items.
        """
        if self.is_popular:
            best = self.snapshot.recommender.popular(k=k + further, excluded=excluded, eligibility=eligibility)
        else:
            key = search_key(
                self.snapshot,
                eligibility,
                beam_width=beam_width,
                k=k,
                history_length=len(self.history),
                reserved=reserved,
                keeps_beams=self.keeps_beams and self.beams is None,
                further=further,
            )
            work = SearchWork(self.history, excluded, k, reserved, self.types, self.in_session)
            found = await self.batcher.submit(key, work, client=self.client, weight=self.weight)
            assert isinstance(found, Found)
            best, self.beams = found.ranking, self.beams or found.beams
        allowed = int(np.count_nonzero(eligibility.allows(best.leaves_K)))
        self.metrics.invalid_beams.inc(len(best.leaves_K) - allowed)
        return best

    async def explained(self, listed: IntArray, *, in_session_before: bool, weight: int) -> Explanation:
        """Explains a list for the history, which must not be empty.

        A long history is explained in parts of `EXPLAINED_AT_ONCE` items, so that other requests need not wait for all.

        Args:
            listed: Places (indices in the catalogue) of the items of the list, int64.
            in_session_before: Whether the request would belong to the session without the last history item.
            weight: Weight of a part in the queue.
        """
        read, parts = read_positions(self.snapshot.recommender, self.history), []
        work = ExplainWork(listed, self.history, self.types, self.in_session, in_session_before, read)
        sections = [read[begin : begin + EXPLAINED_AT_ONCE] for begin in range(0, len(read), EXPLAINED_AT_ONCE)]
        for section in sections:
            part = work._replace(positions=section)
            found = await self.batcher.submit(ExplainKey(self.snapshot), part, client=self.client, weight=weight)
            assert isinstance(found, Explanation)
            parts.append(found)
        contributions_KT = np.concatenate([part.contributions_KT for part in parts], axis=1)
        return Explanation(contributions_KT, parts[0].level_log_probs_KL)
