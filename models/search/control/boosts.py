"""Boosts the scores of candidates that meet a condition, and joins the candidates of several searches.

Shapes: K items of a ranking, M places.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rqrec.models.array_types import BoolArray, IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.ranking import Ranking


class Boost(NamedTuple):
    """A factor on the items that meet a condition: its natural logarithm is added to their scores.

    Attributes:
        meeting: The items of the catalogue that meet the condition.
        factor: The factor, above 0. Below 1 it lowers the items that meet the condition.
    """

    meeting: Eligibility
    factor: float

    def lifts(self, places_M: IntArray) -> BoolArray:
        """Returns which items the boost lifts above the others, bool.

        A factor above 1 lifts the items that meet the condition, a factor below 1 those that do not, and 1 lifts none.

        Args:
            places_M: The places (item numbers) of M items, int64.
        """
        if self.factor == 1:
            return np.zeros(len(places_M), dtype=np.bool_)
        return np.equal(self.meeting.allows(places_M), self.factor > 1)


def joined(rankings: Sequence[Ranking]) -> Ranking:
    """Joins the candidates of several searches of one user. An item that several of them found is taken from the first.

    Args:
        rankings: The candidates of each search, at least one search.

    Returns:
        The different items, in the order of the searches.
    """
    everything = Ranking.joined(rankings)
    return everything.select(np.sort(np.unique(everything.leaves_K, return_index=True)[1]))


def boosted(ranking: Ranking, boosts: Sequence[Boost]) -> Ranking:
    """Adds the natural logarithm of each boost's factor to the scores of its items, and sorts the items by score.

    Several boosts of an item multiply. Items of equal score keep their order. Log-probabilities do not change.

    Args:
        ranking: Items and their scores, best first.
        boosts: The boosts. Without boosts, the ranking itself is returned.

    Example:
        >>> from rqrec.models.trie.trie import SemanticIdTrie
        >>> trie = SemanticIdTrie.build(np.array([[0], [1], [2]]), codebook_size=3)
        >>> meeting = Eligibility.from_mask(trie, np.array([False, True, True]))
        >>> ranking = Ranking(np.array([0, 1, 2]), np.float32([-1, -2, -4]), np.float32([-1, -2, -4]))
        >>> lifted = boosted(ranking, [Boost(meeting, math.e), Boost(meeting, math.e)])
        >>> lifted.leaves_K.tolist(), lifted.scores_K.tolist()
        ([1, 0, 2], [0.0, -1.0, -2.0])
    """
    if not boosts:
        return ranking
    added_K = np.zeros(len(ranking.leaves_K))
    for boost in boosts:
        added_K[boost.meeting.allows(ranking.leaves_K)] += math.log(boost.factor)
    scores_K = (ranking.scores_K + added_K).astype(np.float32)
    return ranking._replace(scores_K=scores_K).by_score()


def can_lift_none(ranked: Ranking, found: Ranking, boosts: Sequence[Boost], *, depth: int) -> bool:
    """Returns whether no item that a search did not find can come among the first items after the boosts.

    An item that the search did not find has at most the score of the last item that it found.

    Args:
        ranked: The found items with the boosts in their scores, best first; at least one item.
        found: The same items as the search found them, best first.
        boosts: The boosts.
        depth: The number of first items.
    """
    if depth > len(ranked.scores_K):
        return False
    most_lifted = found.scores_K[-1] + sum(math.log(max(boost.factor, 1)) for boost in boosts)
    return bool(ranked.scores_K[depth - 1] >= most_lifted)
