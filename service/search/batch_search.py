"""Searches one batch of requests, or explains one batch of lists.

A key is what all work of a batch must have in common. The work is the input that is different for each request.

The place of an item is its index in the catalogue: a leaf of the trie, or an index after all leaves for an item that
was written later.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

from rqrec.models.array_types import IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.explanation import explained, surviving_prefixes
from rqrec.models.search.ranking import Explanation, Ranking, SearchOutput
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.search.batcher import Batcher


class SearchKey(NamedTuple):
    """The batch key of a request: only requests with equal keys are searched in one batch.

    Attributes:
        snapshot: The state of the model and its catalogue in which the request is searched.
        eligibility: The items that pass the request's filter.
        beam_width: Number of beams kept at every level of the search.
        longest_history: Largest number of history items in the request's length class. Histories are divided into
            classes by their length, so that a long history is not in one batch with short ones; see `search_key`.
        exact_k: Number of items to return, if some of them are reserved or further ones; 0 for other requests. A batch
            finds as many items for each request as for the one that wants most, and then cuts the lists. A cut could
            remove such items.
        keeps_beams: Whether to return the beams too, which takes longer.
        further: Number of items to add to each list that the search did not find; see
            `models.search.control.further_items`.
    """

    snapshot: Snapshot
    eligibility: Eligibility
    beam_width: int
    longest_history: int
    exact_k: int = 0
    keeps_beams: bool = False
    further: int = 0


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


class Found(NamedTuple):
    """What was found for one request.

    Attributes:
        ranking: The best eligible items.
        beams: For each depth 1..L, the prefixes that survived the search there, most probable first; see
            `models.search.explanation.surviving_prefixes`. None if they were not asked for.
    """

    ranking: Ranking
    beams: Sequence[IntArray] | None = None


class ExplainKey(NamedTuple):
    """The batch key of lists that are explained.

    Attributes:
        snapshot: The state of the model and its catalogue in which the lists were made.
    """

    snapshot: Snapshot


class ExplainWork(NamedTuple):
    """A list to explain. A place is the index of an item in the catalogue.

    Attributes:
        listed: Places of the items of the list, int64.
        history: As in `SearchWork`.
        types: As in `SearchWork`.
        in_session: As in `SearchWork`.
        in_session_before: The same without the last history item.
        positions: Positions of the history items that are explained.
    """

    listed: IntArray
    history: IntArray
    types: IntArray | None
    in_session: bool
    in_session_before: bool
    positions: range


Key = SearchKey | ExplainKey
Work = SearchWork | ExplainWork
Result = Found | Explanation
SearchBatcher = Batcher[Key, Work, Result]


def search_key(
    snapshot: Snapshot,
    eligibility: Eligibility,
    *,
    beam_width: int,
    k: int,
    history_length: int,
    reserved: int = 0,
    keeps_beams: bool = False,
    further: int = 0,
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
        keeps_beams: Whether to return the beams too.
        further: Number of items to add to the list that the search did not find.
    """
    longest = snapshot.recommender.max_history
    while longest >= 4 * history_length:
        longest //= 4
    exact_k = k if reserved or further else 0
    return SearchKey(snapshot, eligibility, max(beam_width, k), longest, exact_k, keeps_beams, further)


def search(key: Key, batch: Sequence[Work]) -> Sequence[Result]:
    """Searches one batch of requests, or explains one batch of lists.

    Args:
        key: The batch key that all work shares.
        batch: The work: `SearchWork` for a `SearchKey`, `ExplainWork` for an `ExplainKey`.

    Returns:
        In the order of the batch: for a request, its best eligible items, at most as many as its own `k`; for a list,
        its explanation.
    """
    if isinstance(key, ExplainKey):
        recommender = key.snapshot.recommender
        lists = cast("Sequence[ExplainWork]", batch)
        return [
            explained(
                recommender,
                work.listed,
                work.history,
                types=work.types,
                in_session=work.in_session,
                in_session_before=work.in_session_before,
                positions=work.positions,
            )
            for work in lists
        ]
    return _searched(key, cast("Sequence[SearchWork]", batch))


def _searched(key: SearchKey, batch: Sequence[SearchWork]) -> list[Found]:
    outputs: list[SearchOutput] = []
    found = key.snapshot.recommender.recommend(
        [work.history for work in batch],
        k=max(work.k for work in batch),
        beam_width=key.beam_width,
        excluded=[work.excluded for work in batch],
        eligibility=key.eligibility,
        reserved=[work.reserved for work in batch],
        types=[work.types for work in batch],
        in_session=[work.in_session for work in batch],
        on_found=outputs.append if key.keeps_beams else None,
        further=key.further,
    )
    lists = [ranking.first(work.k + key.further) for ranking, work in zip(found, batch, strict=True)]
    if not key.keeps_beams:
        return [Found(ranking) for ranking in lists]
    trie = key.snapshot.recommender.trie
    return [Found(ranking, surviving_prefixes(outputs[0], trie, user)) for user, ranking in enumerate(lists)]
