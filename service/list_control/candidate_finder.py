"""Finds the candidates of a list: the best items of the search, and items that boosts may lift above them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from rqrec.models.array_types import IntArray
from rqrec.models.search.control.boosts import Boost, boosted, can_lift_none, joined
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.ranking import Ranking
from rqrec.service.catalogue.filter_conditions import FilterTerm, InvalidFilter
from rqrec.service.contract import list_control as contract
from rqrec.service.contract.filter import Condition
from rqrec.service.errors import InvalidPart
from rqrec.service.search.candidate_search import CandidateSearch

Filtered = Callable[[Mapping[str, Condition], Sequence[FilterTerm]], Awaitable[Eligibility]]


class _Boosted(NamedTuple):
    """A boost, and the term of a filter that passes the items which the boost lifts."""

    boost: Boost
    lifted: FilterTerm


@dataclass(frozen=True)
class CandidateFinder:
    """Finds candidates of one request.

    Attributes:
        search: The search of the request.
        conditions: The conditions of the request's filter.
        eligibility: The items that pass this filter.
        filtered: Finds the items that meet conditions and pass further terms.
        beam_width: Number of beams of a search, and number of candidates that it finds.
        further: Number of candidates that the search adds with estimated scores.
        boosts: The boosts of the request, and which items each of them lifts.
    """

    search: CandidateSearch
    conditions: Mapping[str, Condition]
    eligibility: Eligibility
    filtered: Filtered
    beam_width: int
    further: int = 0
    boosts: Sequence[_Boosted] = ()

    async def with_boosts(self, boosts: Sequence[contract.Boost]) -> "CandidateFinder":
        """Returns a finder that applies boosts.

        Args:
            boosts: The boosts of the request.

        Raises:
            InvalidPart: If the filter of a boost does not fit the catalogue.
        """
        found = []
        for number, one in enumerate(boosts):
            try:
                meeting = await self.filtered(one.filter, ())
            except InvalidFilter as error:
                raise InvalidPart(("boosts", str(number), *error.within, *error.place), str(error)) from error
            found.append(_Boosted(Boost(meeting, one.factor), FilterTerm(one.filter, is_met=one.factor > 1)))
        return replace(self, boosts=found)

    def narrowed(self, beam_width: int) -> "CandidateFinder":
        """Returns a finder whose searches keep at most so many beams, and find at most so many candidates."""
        return replace(self, beam_width=min(self.beam_width, beam_width))

    async def candidates(
        self, terms: Sequence[FilterTerm], excluded: IntArray, *, wanted: int, depth: int
    ) -> tuple[Ranking, bool]:
        """Finds candidates, with the boosts in their scores.

        A boost may lift an item that the search did not find. A further search looks among the items that a boost
        lifts, unless these cannot enter the list: the search did not find them, so they are worse than its last item;
        and even with all boosts that is too little. A further search is not needed either if the search found as many
        lifted items as are wanted, or all of them.

        Args:
            terms: Terms that the candidates must pass beside the request's filter.
            excluded: Places (indices in the catalogue) of items that are no candidates, int64.
            wanted: Number of items that are chosen from the candidates.
            depth: Number of best candidates, at least `wanted`, from which they are chosen, as far as is known.

        Returns:
            The candidates, best first; and whether these are all items that pass.
        """
        eligibility = await self.filtered(self.conditions, terms) if terms else self.eligibility
        width, further = self.beam_width, self.further
        found = await self.search.best(eligibility, excluded, k=width, beam_width=width, further=further)
        num_open = eligibility.count - len(set(excluded[eligibility.allows(excluded)].tolist()))
        is_all, boosts = len(found.leaves_K) >= num_open, [boost for boost, _ in self.boosts]
        ranked = boosted(found, boosts)
        if is_all or not boosts or can_lift_none(ranked, found, boosts, depth=depth):
            return ranked, is_all
        for boost, lifted in self.boosts:
            num_lifted = int(np.count_nonzero(boost.lifts(found.leaves_K)))
            if boost.factor == 1 or num_lifted >= wanted:
                continue
            inside = await self.filtered(self.conditions, [*terms, lifted])
            if inside.count > num_lifted:
                more = await self.search.best(inside, excluded, k=wanted, beam_width=wanted)
                found = joined([found, more])
        return boosted(found, boosts), is_all
