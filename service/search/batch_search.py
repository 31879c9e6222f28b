"""The search of a batch: what its requests must share, and what each asks for.

Shapes: B requests of a batch.
"""

from collections.abc import Sequence
from typing import NamedTuple

from rqrec.models.array_types import IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.ranking import Ranking
from rqrec.service.catalogue.snapshot import Snapshot


class SearchKey(NamedTuple):
    """What requests must share to be searched together."""

    snapshot: Snapshot
    eligibility: Eligibility
    beam_width: int
    longest_history: int


class SearchWork(NamedTuple):
    """One request's part of a search.

    Attributes:
        history: Places, oldest first.
        excluded: Places that it must not get.
        k: How many it wants.
        reserved: How many of them shall be new items.
    """

    history: IntArray
    excluded: IntArray
    k: int
    reserved: int = 0


def search_key(
    snapshot: Snapshot, eligibility: Eligibility, *, beam_width: int, k: int, history_length: int
) -> SearchKey:
    """The key of a request; histories share a batch with others of a like length, for all are padded to the longest."""
    longest = snapshot.recommender.max_history
    while longest >= 4 * history_length:
        longest //= 4
    return SearchKey(snapshot, eligibility, max(beam_width, k), longest)


def search(key: SearchKey, batch: Sequence[SearchWork]) -> list[Ranking]:
    """The best eligible places for each history."""
    found = key.snapshot.recommender.recommend(
        [work.history for work in batch],
        k=max(work.k for work in batch),
        beam_width=key.beam_width,
        excluded=[work.excluded for work in batch],
        eligibility=key.eligibility,
        reserved=[work.reserved for work in batch],
    )
    return [ranking.first(work.k) for ranking, work in zip(found, batch, strict=True)]
