"""The search of one request: the best items for its history, or the most popular items without a known history."""

from dataclasses import dataclass

import numpy as np

from rqrec.models.array_types import IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.ranking import Ranking
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.search.batch_search import SearchKey, SearchWork, search_key
from rqrec.service.search.batcher import Batcher
from rqrec.service.telemetry import Metrics


@dataclass(frozen=True)
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
    """

    snapshot: Snapshot
    batcher: Batcher[SearchKey, SearchWork, Ranking]
    metrics: Metrics
    history: IntArray
    types: IntArray | None
    in_session: bool
    client: str
    weight: int

    @property
    def is_popular(self) -> bool:
        """Whether the most popular items are found, because no item of the history is known."""
        return not len(self.history)

    async def best(
        self, eligibility: Eligibility, excluded: IntArray, *, k: int, beam_width: int, reserved: int = 0
    ) -> Ranking:
        """Finds the k best eligible items, or fewer if fewer are eligible.

        Args:
            eligibility: The items that may be returned.
            excluded: Places (indices in the catalogue) of items that must not be returned, int64.
            k: Number of items to find.
            beam_width: Number of beams kept at every level of the search; k is used instead if k is larger.
            reserved: How many of the k items are reserved for items without interactions in training.
        """
        if self.is_popular:
            best = self.snapshot.recommender.popular(k=k, excluded=excluded, eligibility=eligibility)
        else:
            key = search_key(
                self.snapshot,
                eligibility,
                beam_width=beam_width,
                k=k,
                history_length=len(self.history),
                reserved=reserved,
            )
            work = SearchWork(self.history, excluded, k, reserved, self.types, self.in_session)
            best = await self.batcher.submit(key, work, client=self.client, weight=self.weight)
        allowed = int(np.count_nonzero(eligibility.allows(best.leaves_K)))
        self.metrics.invalid_beams.inc(len(best.leaves_K) - allowed)
        return best
