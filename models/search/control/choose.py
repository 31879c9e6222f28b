"""Chooses items from candidates by their scores and their differences, under caps.

Shapes: C candidates, M chosen items, D width.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rqrec.models.array_types import BoolArray, FloatArray, IntArray
from rqrec.models.search.control.caps import Caps, Value, Values


class Spread(NamedTuple):
    """What diversity needs to know of the candidates.

    Attributes:
        diversity: The weight of being unlike the list's other items, in [0, 1]; the score has the rest.
        units_CD: The vector of each candidate, at unit length, float32.
        listed_MD: The vectors of the items that are in the list already, at unit length, float32.
    """

    diversity: float
    units_CD: FloatArray
    listed_MD: FloatArray


def choose(scores_C: FloatArray, values_C: Sequence[Values], caps: Caps, spread: Spread, *, count: int) -> IntArray:
    """Chooses items one by one, and counts them: each time the best candidate that no cap forbids.

    The best candidate is that of the highest maximal marginal relevance (Carbonell and Goldstein 1998):
    (1 - diversity) * relevance - diversity * similarity. Here the relevance is the score, scaled to [0, 1] over all
    candidates; and the similarity is the largest cosine with an item of the list, at least 0.

    Args:
        scores_C: The score of each candidate, best first.
        values_C: The capped values of each candidate.
        caps: How many more items of each value the list may have.
        spread: The vectors of the candidates and of the list.
        count: The largest number of items to choose.

    Returns:
        The numbers of the chosen candidates in the order of choice, int64, shape (M,). They are fewer than `count` only
        if the caps forbid all other candidates.

    Example:
        Candidate 1 has the same vector as candidate 0.

        >>> spread = Spread(0.5, np.float32([[1, 0], [1, 0], [0, 1]]), np.empty((0, 2), np.float32))
        >>> choose(np.float32([3, 2, 1]), [(), (), ()], Caps({}), spread, count=3).tolist()
        [0, 2, 1]

        Candidates 0 and 2 are war films, of which one may be chosen.

        >>> war = [("genres", "War")]
        >>> choose(np.float32([3, 2, 1]), [war, (), war], Caps({"genres": 1}), spread, count=3).tolist()
        [0, 1]
    """
    holders: dict[Value, list[int]] = defaultdict(list)
    for number, values in enumerate(values_C):
        for value in values:
            holders[value].append(number)
    is_open_C = np.array([caps.fits(values) for values in values_C], dtype=np.bool_)
    merits, chosen = _Merits(scores_C, spread), list[int]()
    while len(chosen) < count and is_open_C.any():
        best = merits.best(is_open_C)
        chosen.append(best)
        is_open_C[best] = False
        for value in caps.count(values_C[best]):
            is_open_C[holders[value]] = False
        merits.note_listed(best)
    return np.array(chosen, dtype=np.int64)


class _Merits:
    """The marginal relevance of each candidate, while items are added to the list."""

    def __init__(self, scores_C: FloatArray, spread: Spread) -> None:
        scores_C = scores_C.astype(np.float64)
        span = scores_C.max(initial=-np.inf) - scores_C.min(initial=np.inf)
        scaled_C = (scores_C - scores_C.min(initial=np.inf)) / span if span > 0 else np.ones(len(scores_C))
        self._relevance_C = (1 - spread.diversity) * scaled_C
        self._spread = spread
        self._similarity_C = (spread.units_CD @ spread.listed_MD.T).max(axis=1, initial=0)

    def best(self, is_open_C: BoolArray) -> int:
        """Returns the number of the best open candidate."""
        merit_C = self._relevance_C - self._spread.diversity * self._similarity_C
        return int(np.where(is_open_C, merit_C, -np.inf).argmax())

    def note_listed(self, candidate: int) -> None:
        """Counts a candidate as an item of the list."""
        units_CD = self._spread.units_CD
        np.maximum(self._similarity_C, units_CD @ units_CD[candidate], out=self._similarity_C)
