"""Adds candidates that a user's history points at to the items that the search found.

There are two kinds. Own items are items of the history itself, for data in which users choose the same items again and
again; the search reads only the last T items of a history, and it may not find older ones. Following items followed the
last items of the history in the training data (see `models.search.history.transitions`). Both kinds get a bonus on
their score, whose weights are learnt in training (`training.history.bonus_fit`). This module does not need PyTorch.

Shapes: B users, K beams, P pairs of a user and an item, X candidates of a user, N leaves, D width.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rqrec.models.array_types import BoolArray, FloatArray, IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.history.bonus import HistoryBonus
from rqrec.models.search.history.own_choices import PLACE, USER_BITS, OwnChoices
from rqrec.models.search.history.transitions import Transitions
from rqrec.models.search.new.new_item_scores import NewItemScores
from rqrec.models.search.ranking import SearchOutput
from rqrec.models.trie.trie import NO_LEAF

COMPARED = 128  # different items of a history that join, those of the largest bonus


class Candidates(NamedTuple):
    """Items that may be recommended to one user: those that the search found, own items and following items.

    They are in no order. The scores lack the bonus of own items and following items.

    Attributes:
        leaves_X: The leaf of each candidate, int64.
        log_probs_X: The natural log-probability of each candidate, float32. It is an estimate for items that the search
            did not find.
        scores_X: The score of each candidate without the bonus, float32.
        counts_X: How often the user chose the item, int64. It is 0 for an item that gets no bonus as an own item:
            because it is not in the history, because it is new, or because too many items of the history have a larger
            bonus.
        ages_X: How many choices the user made after the last choice of the item, int64; 0 where `counts_X` is 0.
        strengths_X: How strongly the item follows the user's last two items, float32; 0 if it does not follow them.
    """

    leaves_X: IntArray
    log_probs_X: FloatArray
    scores_X: FloatArray
    counts_X: IntArray
    ages_X: IntArray
    strengths_X: FloatArray


class HistoryItems:
    """Adds own items and following items to the candidates for recommendation, beside those that the search found.

    Args:
        bonus: The bonus of own items and following items. A kind whose bonus is None is not added.
        transitions: The items that followed the item of each leaf; None if there is no such table. It is not
            read if the bonus of following items is None.
        is_new_N: Whether the item of each leaf is new, bool (see `models.search.new.new_items`). New items do not
            become candidates here.
        item_vectors_ND: The vector of the item of each leaf, float32.
        relevance_weight: The weight of relevance in score = log_prob + relevance_weight * relevance.
        compared: The largest number of history items of a user that get the bonus: those with the largest bonus. Any
            other item of the history is a candidate only if the search found it, and it gets no bonus.
    """

    def __init__(
        self,
        bonus: HistoryBonus,
        transitions: Transitions | None,
        is_new_N: BoolArray,
        item_vectors_ND: FloatArray,
        *,
        relevance_weight: float,
        compared: int = COMPARED,
    ) -> None:
        self._bonus = bonus
        self._transitions = None if bonus.following is None else transitions
        self._is_new_N, self._vectors_ND, self._compared = is_new_N, item_vectors_ND, compared
        self._has_new = bool(is_new_N.any())
        # Not np.linalg.norm: it makes a copy of all vectors.
        lengths_N = np.sqrt(np.einsum("nd,nd->n", item_vectors_ND, item_vectors_ND))
        self._lengths_N = np.maximum(lengths_N, np.finfo(np.float32).tiny)
        self._estimator = NewItemScores(relevance_weight)

    def merged(
        self,
        found: SearchOutput,
        histories: Sequence[IntArray],
        excluded: Sequence[IntArray],
        eligibility: Eligibility,
    ) -> SearchOutput:
        """Ranks the items that the search found, own items and following items together.

        Args:
            found: The items that the search found.
            histories: For each user, the places (item numbers) of the history items, oldest first, int64.
            excluded: For each user, the places (item numbers) of items that must not be returned, int64.
            eligibility: The items that pass the filter, the same for all users.

        Returns:
            The best candidates of each user, best first, as many as `found` has entries. The scores include the bonus.
        """
        if self._bonus.own is None and self._transitions is None:
            return found
        shape = found.leaves_BK.shape
        leaves_BK = np.full(shape, NO_LEAF, dtype=np.int32)
        log_probs_BK, scores_BK = (np.full(shape, -np.inf, dtype=np.float32) for _ in range(2))
        for user, one in enumerate(self.candidates(found, histories, excluded, eligibility)):
            scores_X = one.scores_X + self._bonus.of(one.counts_X, one.ages_X, one.strengths_X)
            best_X = np.argsort(-scores_X, kind="stable")[: shape[1]]
            leaves_BK[user, : len(best_X)] = one.leaves_X[best_X]
            log_probs_BK[user, : len(best_X)] = one.log_probs_X[best_X]
            scores_BK[user, : len(best_X)] = scores_X[best_X]
        return SearchOutput(leaves_BK, log_probs_BK, scores_BK, found.queries_BD)

    def candidates(
        self,
        found: SearchOutput,
        histories: Sequence[IntArray],
        excluded: Sequence[IntArray],
        eligibility: Eligibility,
    ) -> Iterator[Candidates]:
        """Yields the candidates of each user: the items that the search found, own items and following items.

        Items that are new, excluded or do not pass the filter are not added to the found items. If a user has very many
        own items, only those with the largest bonus are added.

        Args:
            found: The items that the search found.
            histories: For each user, the places (item numbers) of the history items, oldest first, int64.
            excluded: For each user, the places (item numbers) of items that must not be returned, int64.
            eligibility: The items that pass the filter, the same for all users.

        Yields:
            The candidates of one user, in no order. Their scores do not include the bonus. `HistoryItems.merged` adds
            it.
        """
        own = self._own(histories, excluded, eligibility)
        ends_B = np.searchsorted(own.keys_P, np.arange(1, len(histories) + 1) << USER_BITS).tolist()
        offsets_B, scale = self._estimator.offsets(found), np.float32(self._estimator.relevance_weight or 1)
        for user, (begin, end) in enumerate(zip([0, *ends_B], ends_B, strict=False)):
            own_X, counts_X, ages_X = (array_P[begin:end] for array_P in own)
            own_X = own_X & PLACE
            count = np.count_nonzero(found.leaves_BK[user] >= 0)  # empty entries are at the end
            found_X, found_log_probs_X = (
                found.leaves_BK[user, :count].astype(np.int64),
                found.log_probs_BK[user, :count],
            )
            missed_X, strengths_X = self._missed(found_X, own_X, histories[user], excluded[user], eligibility)
            weighted_X = self._vectors_ND[missed_X] @ found.queries_BD[user] / self._lengths_N[missed_X]
            # An estimated log-probability is at most that of the last item that the search found.
            log_probs_X = np.minimum(weighted_X / scale + offsets_B[user], found_log_probs_X.min(initial=0))
            leaves_X = np.concatenate([found_X, missed_X])
            yield Candidates(
                leaves_X,
                np.concatenate([found_log_probs_X, log_probs_X]),
                np.concatenate([found.scores_BK[user, :count], log_probs_X + weighted_X]),
                _looked_up(leaves_X, own_X, counts_X),
                _looked_up(leaves_X, own_X, ages_X),
                strengths_X,
            )

    def _own(self, histories: Sequence[IntArray], excluded: Sequence[IntArray], eligibility: Eligibility) -> OwnChoices:
        if self._bonus.own is None:
            return OwnChoices.none()
        own = OwnChoices.from_histories(histories)
        own = own.select((own.keys_P & PLACE) < len(self._is_new_N))
        leaves_P = own.keys_P & PLACE
        barred = np.concatenate([(user << USER_BITS) | places for user, places in enumerate(excluded)])
        own = own.select(eligibility.allows(leaves_P) & ~self._is_new_N[leaves_P] & ~np.isin(own.keys_P, barred))
        return own.best(self._bonus.own.bonus(own.counts_P, own.ages_P), self._compared)

    def _missed(
        self, found_X: IntArray, own_X: IntArray, history: IntArray, excluded: IntArray, eligibility: Eligibility
    ) -> tuple[IntArray, FloatArray]:
        """Finds the own items and following items of one user that the search did not find.

        Returns:
            Their leaves, and the strengths of the found items and of these.
        """
        if self._transitions is None:
            missed_X = own_X[~np.isin(own_X, found_X)]
            return missed_X, np.zeros(len(found_X) + len(missed_X), dtype=np.float32)
        following_X, strengths_N = self._transitions.after(history)
        strengths_N[excluded[excluded < len(strengths_N)]] = 0
        found_strengths_X = strengths_N[found_X]
        strengths_N[found_X] = 0  # so that what is left was missed
        is_missed_X = strengths_N[following_X] > 0
        if eligibility.num_leaves < len(strengths_N):
            is_missed_X &= eligibility.mask_N[following_X]
        if self._has_new:
            is_missed_X &= ~self._is_new_N[following_X]
        missed_X = following_X[is_missed_X].astype(np.int64)
        if len(own_X):
            missed_X = np.concatenate([missed_X, own_X[~np.isin(own_X, np.concatenate([found_X, missed_X]))]])
        return missed_X, np.concatenate([found_strengths_X, strengths_N[missed_X]])


def _looked_up(leaves_X: IntArray, own_X: IntArray, values_X: IntArray) -> IntArray:
    """Returns the value of each leaf from an ascending table of own items; 0 for a leaf that the table lacks."""
    if not len(own_X):
        return np.zeros(len(leaves_X), dtype=np.int64)
    at_X = np.minimum(np.searchsorted(own_X, leaves_X), len(own_X) - 1)
    return np.asarray(np.where(own_X[at_X] == leaves_X, values_X[at_X], 0))
