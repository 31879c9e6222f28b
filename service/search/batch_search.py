"""Searches one batch of requests.

`SearchKey` is what all requests of a batch must have in common. `SearchWork` is the input of the search that is
different for each request.

The place of an item is its index in the catalogue: a leaf of the trie, or an index after all leaves for an item that
was written later.
"""

from collections.abc import Sequence
from typing import NamedTuple

from rqrec.models.array_types import IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.ranking import Ranking
from rqrec.service.catalogue.snapshot import Snapshot


class SearchKey(NamedTuple):
    """The batch key of a request: only requests with equal keys are searched in one batch.

    Attributes:
        snapshot: The state of the model and its catalogue in which the request is searched.
        eligibility: The items that pass the request's filter.
        beam_width: Number of beams kept at every level of the search.
        longest_history: Largest number of history items in the request's length class. Histories are divided into
            classes by their length, so that a long history is not in one batch with short ones; see `search_key`.
        reserved_of: Number of items to return, if some of them are reserved; 0 for a request without reserved items. A
            batch finds as many items for each request as for the one that wants most, and then cuts the lists. A cut
            could remove reserved items.
    """

    snapshot: Snapshot
    eligibility: Eligibility
    beam_width: int
    longest_history: int
    reserved_of: int = 0


class SearchWork(NamedTuple):
    """The input of the search for one request. A place is the index of an item in the catalogue.

    Shape: T items in the request's history.

    Attributes:
        history: Places of the history's items, oldest first, int64 of shape (T,).
        excluded: Places of the items that must not be returned, int64.
        k: Number of items to return.
        reserved: How many of the k items are reserved for items without interactions in training.
        types: The event type of each history item, as an index from 1, or 0 for an unknown type; int64 of shape (T,).
            None if all types are unknown.
        in_session: Whether the request belongs to the session of the last history item.
    """

    history: IntArray
    excluded: IntArray
    k: int
    reserved: int = 0
    types: IntArray | None = None
    in_session: bool = False


def search_key(
    snapshot: Snapshot, eligibility: Eligibility, *, beam_width: int, k: int, history_length: int, reserved: int = 0
) -> SearchKey:
    """Returns the batch key of a request.

    In a batch all histories are padded to the longest one, so one long history would make short ones slow. Therefore
    histories are divided into classes by their length, and only histories of the same class share a batch. If the model
    reads at most 64 items, the classes are 1, 2 to 4, 5 to 16, and 17 or more items.

    Args:
        snapshot: The state of the model and its catalogue in which the request is searched.
        eligibility: The items that pass the request's filter.
        beam_width: Number of beams kept at every level of the search; k is used instead if k is larger.
        k: Number of items to return.
        history_length: Number of items in the history, at least 1.
        reserved: How many of the k items are reserved for items without interactions in training.
    """
    longest = snapshot.recommender.max_history
    while longest >= 4 * history_length:
        longest //= 4
    return SearchKey(snapshot, eligibility, max(beam_width, k), longest, k if reserved else 0)


def search(key: SearchKey, batch: Sequence[SearchWork]) -> list[Ranking]:
    """Searches one batch.

    Args:
        key: The batch key that all requests share.
        batch: The work of each request.

    Returns:
        For each request, in the order of the batch, its best eligible items: at most as many as its own `k`.
    """
    found = key.snapshot.recommender.recommend(
        [work.history for work in batch],
        k=max(work.k for work in batch),
        beam_width=key.beam_width,
        excluded=[work.excluded for work in batch],
        eligibility=key.eligibility,
        reserved=[work.reserved for work in batch],
        types=[work.types for work in batch],
        in_session=[work.in_session for work in batch],
    )
    return [ranking.first(work.k) for ranking, work in zip(found, batch, strict=True)]
