"""Chooses items from candidates, under caps and with diversity.

Shapes: C candidates, X capped values of an item, V different values, M chosen items, D width.
"""

from typing import NamedTuple

import numpy as np

from rqrec.models.array_types import BoolArray, FloatArray, IntArray

NO_VALUE = -1


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


def choose(
    scores_C: FloatArray, values_CX: IntArray, room_V: IntArray, *, count: int, spread: Spread | None = None
) -> IntArray:
    """Chooses items one by one: each time the best candidate that no cap forbids.

    Without diversity, the best candidate is that of the highest score. With diversity it is that of the highest maximal
    marginal relevance (Carbonell and Goldstein 1998): (1 - diversity) * relevance - diversity * similarity. Here the
    relevance is the score, scaled to [0, 1] over all candidates; and the similarity is the largest cosine with an item
    of the list, at least 0.

    Args:
        scores_C: The score of each candidate, best first.
        values_CX: The capped values of each candidate, different numbers in [0, V), padded with `NO_VALUE`; int64.
        room_V: How many more items of each value the list may have; int64. A value without room forbids an item.
        count: The largest number of items to choose.
        spread: What diversity needs; None for no diversity.

    Returns:
        The numbers of the chosen candidates in the order of choice, int64, shape (M,). They are fewer than `count` only
        if the caps forbid all other candidates.

    Example:
        Candidates 0 and 1 both have the value 0, of which one item may be chosen.

        >>> choose(np.float32([3, 2, 1]), np.array([[0], [0], [1]]), np.array([1, 1]), count=2).tolist()
        [0, 2]

        Candidate 1 has the same vector as candidate 0.

        >>> spread = Spread(0.5, np.float32([[1, 0], [1, 0], [0, 1]]), np.empty((0, 2), np.float32))
        >>> no_caps = np.empty((3, 0), np.int64), np.empty(0, np.int64)
        >>> choose(np.float32([3, 2, 1]), *no_caps, count=3, spread=spread).tolist()
        [0, 2, 1]
    """
    room_V, chosen = room_V.copy(), list[int]()
    is_open_C = _has_room(values_CX, room_V)
    merits = None if spread is None else _Merits(scores_C, spread)
    while len(chosen) < count and is_open_C.any():
        best = int(is_open_C.argmax()) if merits is None else merits.best(is_open_C)
        chosen.append(best)
        is_open_C[best] = False
        values_X = values_CX[best][values_CX[best] != NO_VALUE]
        room_V[values_X] -= 1
        full_X = values_X[room_V[values_X] == 0]
        if len(full_X):
            is_open_C &= ~(values_CX[:, :, None] == full_X).any(axis=(1, 2))
        if merits is not None:
            merits.note_listed(best)
    return np.array(chosen, dtype=np.int64)


def _has_room(values_CX: IntArray, room_V: IntArray) -> BoolArray:
    """Whether all values of each candidate have room, shape (C,)."""
    if not values_CX.size:
        return np.ones(len(values_CX), dtype=np.bool_)
    has_room_V1 = np.append(room_V > 0, True)  # the last entry is that of NO_VALUE
    return np.asarray(has_room_V1[values_CX].all(axis=1))


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
