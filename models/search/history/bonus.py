"""The learnt bonus of the candidates that a user's history points at."""

from dataclasses import dataclass

import numpy as np

from rqrec.models.array_types import FloatArray, IntArray
from rqrec.models.search.history.own_weights import OwnItemWeights
from rqrec.models.search.history.transitions import transition_signal


@dataclass(frozen=True)
class HistoryBonus:
    """The learnt bonus that is added to the scores of own items and of following items.

    Own items are items of the user's history. Following items followed the last two of them in the training data.

    Attributes:
        own: The weights of own items; None if they get no bonus and are not added to the candidates.
        following: The weight of following items: their bonus is this weight times `transition_signal`. None if they get
            no bonus and are not added.
    """

    own: OwnItemWeights | None = None
    following: float | None = None

    def of(self, counts: IntArray, ages: IntArray, strengths: FloatArray) -> FloatArray:
        """Returns the bonus of each candidate, float32; 0 for an item of neither kind.

        Args:
            counts: How often the user chose each item, integer, at least 0.
            ages: How many choices the user made after the last choice of each item, in the shape of `counts`.
            strengths: How strongly each item follows the user's last two items, float32, in the shape of `counts`.
        """
        bonus: FloatArray = np.zeros(counts.shape, dtype=np.float32)
        if self.own is not None:
            bonus = bonus + self.own.bonus(counts, ages)
        if self.following is not None:
            bonus = bonus + np.float32(self.following) * transition_signal(strengths)
        return bonus


NO_BONUS = HistoryBonus()
