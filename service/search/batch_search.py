"""The search of one batch, the key that its requests must share, and the work of each request.

The place of an item is its position in the catalogue: a leaf of the trie, or a position after the leaves for an item
that was written later.
"""

from collections.abc import Sequence
from typing import NamedTuple

from rqrec.models.array_types import IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.ranking import Ranking
from rqrec.service.catalogue.snapshot import Snapshot


class SearchKey(NamedTuple):
    """The values that requests must share to be searched in one batch.

    Attributes:
        snapshot: The catalogue and its search engine.
        eligibility: The items that pass the filter.
        beam_width: Beams kept at every level.
        longest_history: Length class of the history, in items: shorter histories are padded to a similar length.
    """

    snapshot: Snapshot
    eligibility: Eligibility
    beam_width: int
    longest_history: int


class SearchWork(NamedTuple):
    """The search of one request.

    Attributes:
        history: Places of the history, oldest first, int64.
        excluded: Places that must not be returned, int64.
        k: Number of items to return.
        reserved: How many of these k are reserved for items without interactions in training.
        types: Event types of the history, 0 for unknown, int64; None if all are unknown.
    """

    history: IntArray
    excluded: IntArray
    k: int
    reserved: int = 0
    types: IntArray | None = None


def search_key(
    snapshot: Snapshot, eligibility: Eligibility, *, beam_width: int, k: int, history_length: int
) -> SearchKey:
    """The batch key of a request.

    A batch pads all histories to the longest one. So only histories of a similar length share a batch: they have the
    same length class. The longest class ends at the model's longest history, and each other class at a quarter of the
    length where the next longer one ends.

    Args:
        snapshot: The catalogue and its search engine.
        eligibility: The items that pass the filter.
        beam_width: Beams kept at every level; raised to k.
        k: Number of items to return.
        history_length: Length of the history, in items.
    """
    longest = snapshot.recommender.max_history
    while longest >= 4 * history_length:
        longest //= 4
    return SearchKey(snapshot, eligibility, max(beam_width, k), longest)


def search(key: SearchKey, batch: Sequence[SearchWork]) -> list[Ranking]:
    """Searches one batch.

    Args:
        key: The values that all requests share.
        batch: The requests.

    Returns:
        The best eligible places for each request, in the order of the batch.
    """
    found = key.snapshot.recommender.recommend(
        [work.history for work in batch],
        k=max(work.k for work in batch),
        beam_width=key.beam_width,
        excluded=[work.excluded for work in batch],
        eligibility=key.eligibility,
        reserved=[work.reserved for work in batch],
        types=[work.types for work in batch],
    )
    return [ranking.first(work.k) for ranking, work in zip(found, batch, strict=True)]
