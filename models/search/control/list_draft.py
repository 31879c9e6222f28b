"""Fills a list of k places from candidates, under pins, caps and diversity.

Shapes: P pins, C candidates, K items of the list, D width.
"""

from collections.abc import Sequence
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
        values_P: The values of each item for the capped attributes.
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
        values_C: The values of each item for the capped attributes.
        units_CD: The vector of each item at unit length, float32; None without diversity.
    """

    ranking: Ranking
    values_C: Sequence[Values]
    units_CD: FloatArray | None = None


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
        limits_A: For each capped attribute, the largest number of items with the same value.
        diversity: The weight of being unlike the list's other items, in [0, 1].

    Attributes:
        caps: How many more items of each value the list may have.
        places: The places (item numbers) of all items in the list so far, int64.
    """

    def __init__(self, k: int, pins: Pins, *, limits_A: Sequence[int], diversity: float) -> None:
        self.caps = Caps(limits_A)
        self.caps.count(pins.values_P)
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

        Candidates that are in the list already are left out.

        Args:
            candidates: The candidates of this round.
        """
        ranking = candidates.ranking
        rows_C = np.arange(len(ranking.leaves_K))
        if len(self.places):
            self._note_pinned(ranking)
            rows_C = rows_C[~np.isin(ranking.leaves_K, self.places)]
        spread = None
        if self._diversity:
            rows_C = rows_C[: POOL * self._k]
            assert candidates.units_CD is not None
            spread = Spread(self._diversity, candidates.units_CD[rows_C], np.concatenate(self._listed))
        values_C = [candidates.values_C[row] for row in rows_C.tolist()]
        numbers_CX = self.caps.numbers(values_C)
        scores_C, room_V = ranking.scores_K[rows_C], self.caps.room_V
        chosen = choose(scores_C, numbers_CX, room_V, count=self.open_places, spread=spread)
        self.caps.count([values_C[number] for number in chosen.tolist()])
        if spread is not None:
            self._listed.append(spread.units_CD[chosen])
        self._rounds.append(Ranking._make(field[rows_C[chosen]] for field in ranking))
        self.places = np.concatenate([self.places, self._rounds[-1].leaves_K])
        return len(chosen)

    def finished(self) -> ControlledRanking:
        """Returns the list as far as it is filled. If too few items were found, pinned items move up."""
        places_K, log_probs_K, scores_K = (np.concatenate(parts) for parts in zip(*self._rounds, strict=True))
        order_K = np.arange(len(places_K)) if self._diversity else np.argsort(-scores_K, kind="stable")
        rows = list(zip(*(field[order_K].tolist() for field in (places_K, log_probs_K, scores_K)), strict=True))
        is_pinned = [False] * len(rows)
        pins = sorted(zip(self._pins.ranks_P.tolist(), self._pins.places_P.tolist(), strict=True))
        for rank, place in pins:
            rows.insert(rank - 1, (place, *self._pinned_found.get(place, (np.nan, np.nan))))
            is_pinned.insert(rank - 1, True)
        places, log_probs, scores = zip(*rows, strict=True) if rows else ((), (), ())
        ranking = Ranking(np.array(places, np.int64), np.array(log_probs, np.float32), np.array(scores, np.float32))
        return ControlledRanking(ranking, np.array(is_pinned, dtype=np.bool_))

    def _note_pinned(self, ranking: Ranking) -> None:
        """Keeps the log-probabilities and scores of pinned items among the candidates."""
        for row in np.flatnonzero(np.isin(ranking.leaves_K, self._pins.places_P)).tolist():
            found = float(ranking.log_probs_K[row]), float(ranking.scores_K[row])
            self._pinned_found.setdefault(int(ranking.leaves_K[row]), found)
