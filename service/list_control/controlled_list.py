"""Makes the list of a request with caps, boosts, pins or diversity.

A list is filled in rounds. A round searches candidates, and the list takes what the caps allow. If places stay open,
which is seldom, there is another round. The values whose caps are full are a filter of the round. So every candidate of
a round, taken alone, fits under the caps, and a round that finds candidates adds at least one item. A round that adds
none is the last one. Therefore there are at most as many rounds as places.
"""

from typing import Any, NamedTuple

import numpy as np

from rqrec.models.array_types import FloatArray, IntArray
from rqrec.models.search.control.further_items import COMPARED
from rqrec.models.search.control.list_draft import POOL, Candidates, ControlledRanking, ListDraft, Pins
from rqrec.models.search.ranking import Ranking
from rqrec.models.trie.trie import NO_LEAF
from rqrec.models.vector_index import unit_rows
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.contract.recommend import RecommendRequest
from rqrec.service.list_control.candidate_finder import CandidateFinder
from rqrec.service.list_control.capped_attributes import CappedAttributes

FURTHER = 512  # candidates under caps beside those that the search finds
LATER_WIDTH = 2  # largest beam width of the rounds after the first, in k: they have few places to fill


class ControlledList(NamedTuple):
    """The list of a request with caps, boosts, pins or diversity.

    Attributes:
        best: The items by rank, and which of them are pinned.
        unknown_pins: Pinned ids that are not in the catalogue.
        full_values: The values of which the list may have no more items, by the name of the capped attribute. Empty if
            the list has k items.
    """

    best: ControlledRanking
    unknown_pins: list[str]
    full_values: dict[str, list[Any]]


def beam_width_of(request: RecommendRequest, default_width: int) -> int:
    """Returns the number of beams of a request's first search, which is also the number of candidates that it finds.

    It is at least k. With diversity it is at least four times k, because the items are chosen among that many.

    Args:
        request: The request.
        default_width: The beam width of a request that sets none.
    """
    least = POOL * request.k + len(request.pins) if request.diversity else request.k
    return max(request.beam_width or default_width, least)


def further_candidates(request: RecommendRequest) -> int:
    """Returns how many candidates a request needs beside those that the search finds.

    Caps leave out many candidates. A boost may lift any item.

    Args:
        request: The request.
    """
    return COMPARED if request.boosts else FURTHER if request.caps else 0


async def controlled_list(
    request: RecommendRequest, snapshot: Snapshot, finder: CandidateFinder, excluded: IntArray
) -> ControlledList:
    """Makes the list of a request with caps, boosts, pins or diversity.

    Args:
        request: The request.
        snapshot: The state of the model and its catalogue.
        finder: Finds candidates for the request, without its boosts.
        excluded: Places (indices in the catalogue) of items that must not be returned, unless they are pinned; int64.

    Raises:
        InvalidPart: If a cap or the filter of a boost does not fit the catalogue.
    """
    caps = CappedAttributes.checked(request.caps, snapshot.filters.schema)
    finder = await finder.with_boosts(request.boosts)
    pinned_P = snapshot.table.find([pin.item_id for pin in request.pins])
    draft = _draft(request, snapshot, caps, pinned_P)
    while draft.open_places:
        terms = caps.terms_without(draft.caps.full_values)
        wanted = draft.open_places + len(pinned_P)  # the pinned ones may be among the candidates
        depth = max(wanted, POOL * request.k + len(pinned_P) if request.caps or request.diversity else 0)
        ranking, is_all = await finder.candidates(terms, excluded, wanted=wanted, depth=depth)
        draft.note_pinned(ranking)
        if request.diversity and len(ranking.leaves_K) > (most := max(FURTHER, 2 * POOL * request.k)):
            ranking, is_all = ranking.first(most), False
        if not _fill(draft, ranking, snapshot, caps, request.diversity, is_all=is_all) or is_all:
            break
        excluded = np.concatenate([excluded, draft.places])
        if not request.diversity:
            finder = finder.narrowed(LATER_WIDTH * request.k)
    full_values = draft.caps.full_values if draft.open_places else {}
    unknown_pins = [pin.item_id for pin, place in zip(request.pins, pinned_P.tolist(), strict=True) if place == NO_LEAF]
    return ControlledList(
        draft.finished(), unknown_pins, {name: values for name, values in full_values.items() if values}
    )


def _fill(
    draft: ListDraft, ranking: Ranking, snapshot: Snapshot, caps: CappedAttributes, diversity: float, *, is_all: bool
) -> int:
    """Fills open places from candidates, and returns how many it has filled."""
    values, units_KD = caps.values_of(ranking.leaves_K, snapshot.table), _units(ranking.leaves_K, snapshot, diversity)
    if not diversity:
        return draft.add(Candidates(ranking, values, units_KD, is_all))
    num_added, candidates = 0, Candidates(ranking, list(values), units_KD, is_all)
    while draft.open_places and (added := draft.add(candidates)):  # each time, of the 4k best that fit
        num_added += added
    return num_added


def _draft(request: RecommendRequest, snapshot: Snapshot, caps: CappedAttributes, pinned_P: IntArray) -> ListDraft:
    """The list with the pinned items that are in the catalogue."""
    is_known_P = pinned_P != NO_LEAF
    places_P = pinned_P[is_known_P]
    ranks_P = np.array([pin.rank for pin in request.pins], dtype=np.int64)[is_known_P]
    units_PD = _units(places_P, snapshot, request.diversity)
    pins = Pins(places_P, ranks_P, list(caps.values_of(places_P, snapshot.table)), units_PD)
    return ListDraft(request.k, pins, limits=caps.limits, diversity=request.diversity)


def _units(places_M: IntArray, snapshot: Snapshot, diversity: float) -> FloatArray | None:
    """The vectors of items at unit length, shape (M, D); None without diversity."""
    return unit_rows(snapshot.item_vectors.rows[places_M, : snapshot.compared_width]) if diversity else None
