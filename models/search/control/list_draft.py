"""Fills a list of k places from candidates, under pins, caps and diversity.

Shapes: P pins, C candidates, K items of the list, D width.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rqrec.models.array_types import BoolArray, FloatArray, IntArray
from rqrec.models.search.control.caps import Caps, Values
from rqrec.models.search.control.choose import Spread, choose
from rqrec.models.search.ranking import Ranking

POOL = 4  # with diversity, candidates for each place of the list


class Pins(NamedTuple):
    """Items that stand at fixed ranks of a list.

    Attributes:
        places_P: The place (item number) of each item, different, int64.
        ranks_P: The rank of each item, different, in [1, k], int64.
        values_P: The capped values of each item.
        units_PD: The vector of each item at unit length, float32; None without diversity.
    """

    places_P: IntArray
    ranks_P: IntArray
    values_P: Sequence[Values]
    units_PD: FloatArray | None = None


class Candidates(NamedTuple):
    """Items from which a list is filled.

    Attributes:
        ranking: The items with their scores (boosts included), best first.
        values: The capped values of each item, in the same order.
        units_CD: The vector of each item at unit length, float32; None without diversity.
        is_all: Whether there are no other candidates.
    """

    ranking: Ranking
    values: Iterable[Values]
    units_CD: FloatArray | None = None
    is_all: bool = False


class ControlledRanking(NamedTuple):
    """The items of a list, by rank.

    Attributes:
        ranking: The items. The log-probability and the score of a pinned item that no search found are NaN.
        is_pinned_K: Whether each item is pinned, bool.
    """

    ranking: Ranking
    is_pinned_K: BoolArray


class ListDraft:
    """A list of k places that is being filled from candidates, in one or several rounds.

    Pinned items are in the list from the beginning. They count towards the caps, but no cap forbids them.

    Without diversity, each round chooses the candidates of the highest score, as far as the caps allow it; the list is
    sorted by score. With diversity, each round chooses by marginal relevance (see `choose`) among the 4k best
    candidates; the list has the order of choice.

    Args:
        k: The number of places, at least 1.
        pins: The pinned items.
        limits: The largest number of items with the same value, by the name of the capped attribute.
        diversity: The weight of being unlike the list's other items, in [0, 1].

    Attributes:
        caps: How many more items of each value the list may have.
        places: The places (item numbers) of all items in the list so far, int64.
    """

    def __init__(self, k: int, pins: Pins, *, limits: Mapping[str, int], diversity: float) -> None:
        self.caps = Caps(limits)
        for values in pins.values_P:
            self.caps.count(values)
        self.places = pins.places_P
        self._k, self._pins, self._diversity = k, pins, diversity
        nothing = np.empty(0, dtype=np.float32)
        self._rounds = [Ranking(np.empty(0, dtype=np.int64), nothing, nothing)]
        self._listed = [] if pins.units_PD is None else [pins.units_PD]
        self._pinned_found: dict[int, tuple[float, float]] = {}

    @property
    def open_places(self) -> int:
        """The number of places that no item has yet."""
        return self._k - len(self.places)

    def add(self, candidates: Candidates) -> int:
        """Chooses items for the open places, and returns how many were chosen.

        Candidates that are in the list already are left out. With diversity, none is chosen if fewer than 4k fit under
        the caps though there may be others.

        Args:
            candidates: The candidates of this round.
        """
        ranking = candidates.ranking
        is_listed_C = np.isin(ranking.leaves_K, self.places)
        chosen_M = self._diverse(candidates, is_listed_C) if self._diversity else self._best(candidates, is_listed_C)
        self._rounds.append(ranking.select(chosen_M))
        self.places = np.concatenate([self.places, self._rounds[-1].leaves_K])
        return len(chosen_M)

    def _best(self, candidates: Candidates, is_listed_C: BoolArray) -> IntArray:
        """The rows of the best candidates that fit. The values of the candidates after these are not read."""
        chosen, count = list[int](), self.open_places
        for row, (values, is_listed) in enumerate(zip(candidates.values, is_listed_C.tolist(), strict=True)):
            if not is_listed and self.caps.fits(values):
                chosen.append(row)
                self.caps.count(values)
                if len(chosen) == count:
                    break
        return np.array(chosen, dtype=np.int64)

    def _diverse(self, candidates: Candidates, is_listed_C: BoolArray) -> IntArray:
        """The rows of candidates that are chosen by marginal relevance among the 4k best that fit."""
        values_C = list(candidates.values)
        rows = [row for row in np.flatnonzero(~is_listed_C).tolist() if self.caps.fits(values_C[row])]
        if len(rows) < POOL * self._k and not candidates.is_all:
            return np.empty(0, dtype=np.int64)
        rows_C = np.array(rows[: POOL * self._k], dtype=np.int64)
        assert candidates.units_CD is not None
        spread = Spread(self._diversity, candidates.units_CD[rows_C], np.concatenate(self._listed))
        scores_C, values_C = candidates.ranking.scores_K[rows_C], [values_C[row] for row in rows_C.tolist()]
        chosen_M = rows_C[choose(scores_C, values_C, self.caps, spread, count=self.open_places)]
        self._listed.append(candidates.units_CD[chosen_M])
        return chosen_M

    def note_pinned(self, ranking: Ranking) -> None:
        """Keeps the log-probabilities and scores of pinned items among candidates.

        Args:
            ranking: The candidates.
        """
        if not len(self._pins.places_P):
            return
        for row in np.flatnonzero(np.isin(ranking.leaves_K, self._pins.places_P)).tolist():
            found = float(ranking.log_probs_K[row]), float(ranking.scores_K[row])
            self._pinned_found.setdefault(int(ranking.leaves_K[row]), found)

    def finished(self) -> ControlledRanking:
        """Returns the list as far as it is filled. If too few items were found, pinned items move up."""
        chosen = Ranking.joined(self._rounds)
        chosen = chosen if self._diversity else chosen.by_score()
        rows = list(zip(*(field.tolist() for field in chosen), strict=True))
        is_pinned = [False] * len(rows)
        pins = sorted(zip(self._pins.ranks_P.tolist(), self._pins.places_P.tolist(), strict=True))
        for rank, place in pins:
            rows.insert(rank - 1, (place, *self._pinned_found.get(place, (np.nan, np.nan))))
            is_pinned.insert(rank - 1, True)
        places, log_probs, scores = zip(*rows, strict=True) if rows else ((), (), ())
        ranking = Ranking(np.array(places, np.int64), np.array(log_probs, np.float32), np.array(scores, np.float32))
        return ControlledRanking(ranking, np.array(is_pinned, dtype=np.bool_))
