"""The learnt bonus of the candidates that a user's history points at."""

from dataclasses import dataclass

from rqrec.models.search.history.own_weights import OwnItemWeights
from rqrec.models.search.history.transitions import Following, Transitions


@dataclass(frozen=True)
class HistoryBonus:
    """The learnt bonus that is added to the scores of own items and of following items.

    Own items are items of the user's history. Following items followed the last ones of them in the training data.

    Attributes:
        own: The weights of own items; None if they get no bonus and are not added to the candidates.
        following: The weight of following items (see `models.search.history.transitions.Following`). None if they get
            no bonus and are not added.
    """

    own: OwnItemWeights | None = None
    following: float | None = None

    def following_items(self, transitions: Transitions | None) -> Following | None:
        """Returns the following items of a table with their weight; None if they get no bonus or there is no table.

        Args:
            transitions: The items that followed the item of each leaf.
        """
        return None if self.following is None or transitions is None else Following(transitions, self.following)


NO_BONUS = HistoryBonus()
