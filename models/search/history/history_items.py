"""Adds candidates that a user's history points at to the items that the search found.

There are two kinds. Own items are items of the history itself, for data in which users choose the same items again and
again; the search reads only the last T items of a history, and it may not find older ones. Following items followed the
last items of the history in the training data (see `models.search.history.transitions`). Both kinds get a bonus on
their score, whose weights are learnt in training (`training.history_bonus_fit`). This module does not need PyTorch.

Shapes: B users, K beams, P pairs of a user and an item, X candidates of a user, N leaves, D width.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import BoolArray, FloatArray, IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.history.bonus import HistoryBonus
from rqrec.models.search.history.own_choices import PLACE, USER_BITS, OwnChoices
from rqrec.models.search.history.transitions import Transitions
from rqrec.models.search.new.new_item_scores import NewItemScores
from rqrec.models.search.ranking import SearchOutput

ScalarT = TypeVar("ScalarT", np.int64, np.float32)
COMPARED = 128  # different items of a history that join, those of the largest bonus
NO_LEAF = -1


class Candidates(NamedTuple):
    """Items that may be recommended to each of B users: those that the search found, own items and following items.

    They are in no order. The scores lack the bonus of own items and following items.

    Attributes:
        leaves_BX: The leaf of each candidate; -1 in an empty entry.
        log_probs_BX: The natural log-probability of each candidate. It is an estimate for items that the search did not
            find.
        scores_BX: The score of each candidate without the bonus; -inf in an empty entry.
        counts_BX: How often the user chose the item. It is 0 for an item that gets no bonus as an own item: because it
            is not in the history, because it is new, or because too many items of the history have a larger bonus.
        ages_BX: How many choices the user made after the last choice of the item; 0 where `counts_BX` is 0.
        strengths_BX: How strongly the item follows the user's last two items; 0 if it does not follow them.
    """

    leaves_BX: IntArray
    log_probs_BX: FloatArray
    scores_BX: FloatArray
    counts_BX: IntArray
    ages_BX: IntArray
    strengths_BX: FloatArray


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
        self._lengths_N = np.maximum(np.linalg.norm(item_vectors_ND, axis=1), np.finfo(np.float32).tiny)
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
            All candidates of each user, best first: the entries of `found`, and the items that `candidates` adds to
            them. The scores include the bonus.
        """
        if self._bonus.own is None and self._transitions is None:
            return found
        all_of = self.candidates(found, histories, excluded, eligibility)
        bonus_BX = self._bonus.of(all_of.counts_BX, all_of.ages_BX, all_of.strengths_BX)
        scores_BX: FloatArray = np.add(all_of.scores_BX, bonus_BX, dtype=np.float32)
        order_BX = np.argsort(-scores_BX, axis=1, kind="stable")
        return SearchOutput(
            np.take_along_axis(all_of.leaves_BX, order_BX, axis=1).astype(np.int32),
            np.take_along_axis(all_of.log_probs_BX, order_BX, axis=1).astype(np.float32, copy=False),
            np.take_along_axis(scores_BX, order_BX, axis=1).astype(np.float32, copy=False),
            found.queries_BD,
        )

    def candidates(
        self,
        found: SearchOutput,
        histories: Sequence[IntArray],
        excluded: Sequence[IntArray],
        eligibility: Eligibility,
    ) -> Candidates:
        """Lists the candidates of each user: the items that the search found, own items and following items.

        Items that are new, excluded or do not pass the filter are not added to the found items. If a user has very many
        own items, only those with the largest bonus are added.

        Args:
            found: The items that the search found.
            histories: For each user, the places (item numbers) of the history items, oldest first, int64.
            excluded: For each user, the places (item numbers) of items that must not be returned, int64.
            eligibility: The items that pass the filter, the same for all users.

        Returns:
            The candidates, in no order. Their scores do not include the bonus. `HistoryItems.merged` adds it.
        """
        own = self._own(histories, excluded, eligibility)
        ends_B = np.searchsorted(own.keys_P, np.arange(1, len(histories) + 1) << USER_BITS).tolist()
        missed, strengths = [], []
        for user, (begin, end) in enumerate(zip([0, *ends_B], ends_B, strict=False)):
            own_X = own.keys_P[begin:end] & PLACE
            leaves_X, strengths_X = self._missed(
                found.leaves_BK[user], own_X, histories[user], excluded[user], eligibility
            )
            missed.append(leaves_X)
            strengths.append(strengths_X)
        parts = zip((found.leaves_BK, found.log_probs_BK, found.scores_BK), self._scored(found, missed), strict=True)
        leaves_BX, log_probs_BX, scores_BX = (np.concatenate([one, other], axis=1) for one, other in parts)
        keys_BX = (np.arange(len(histories))[:, None] << USER_BITS) | leaves_BX.astype(np.int64)
        return Candidates(
            leaves_BX,
            log_probs_BX,
            scores_BX,
            _of_keys(keys_BX, own.keys_P, own.counts_P),
            _of_keys(keys_BX, own.keys_P, own.ages_P),
            _padded(strengths, np.float32(0)),
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
        self, found_K: IntArray, own_X: IntArray, history: IntArray, excluded: IntArray, eligibility: Eligibility
    ) -> tuple[IntArray, FloatArray]:
        """Finds the own items and following items of one user that the search did not find.

        Returns:
            Their leaves, shape (X,), and the strengths of the found items and of these, shape (K + X,).
        """
        following_X = own_X[:0]
        strengths_K: FloatArray = np.zeros(len(found_K), dtype=np.float32)
        strengths_X = strengths_K[:0]
        if self._transitions is not None:
            followed_X, strengths_N = self._transitions.after(history)
            strengths_N[excluded[excluded < len(strengths_N)]] = 0
            is_found_K = found_K >= 0
            strengths_K[is_found_K] = strengths_N[found_K[is_found_K]]
            strengths_N[found_K[is_found_K]] = 0  # so that only missed items are left
            is_left_X = eligibility.mask_N[followed_X] & ~self._is_new_N[followed_X] & (strengths_N[followed_X] > 0)
            following_X = followed_X[is_left_X].astype(np.int64)
            strengths_X = strengths_N[following_X]
        if len(own_X):
            own_X = own_X[~np.isin(own_X, np.concatenate([found_K, following_X]))]
        more = np.zeros(len(own_X), dtype=np.float32)
        return np.concatenate([following_X, own_X]), np.concatenate([strengths_K, strengths_X, more])

    def _scored(self, found: SearchOutput, missed: Sequence[IntArray]) -> tuple[IntArray, FloatArray, FloatArray]:
        """Estimates the log-probabilities and scores of items that the search did not find.

        An estimated log-probability is at most that of the last item that the search found.

        Returns:
            The leaves, log-probabilities and scores, one row for each user, with -1, -inf and -inf in empty entries.
        """
        is_found_BK = found.scores_BK > -np.inf
        lowest_B = np.where(is_found_BK, found.log_probs_BK, np.float32(0)).min(axis=1, initial=0)
        offsets_B, scale = self._estimator.offsets(found), np.float32(self._estimator.relevance_weight or 1)
        log_probs, scores = [], []
        for user, leaves_X in enumerate(missed):
            weighted_X = self._vectors_ND[leaves_X] @ found.queries_BD[user] / self._lengths_N[leaves_X]
            log_probs_X = np.minimum(weighted_X / scale + offsets_B[user], lowest_B[user])
            log_probs.append(log_probs_X)
            scores.append(log_probs_X + weighted_X)
        lowest = np.float32(-np.inf)
        return _padded(missed, np.int64(NO_LEAF)), _padded(log_probs, lowest), _padded(scores, lowest)


def _padded(rows: Sequence[NDArray[Any]], filler: ScalarT) -> NDArray[ScalarT]:
    """Stacks rows of different lengths; short rows are filled up at the end."""
    array_BX = np.full((len(rows), max(map(len, rows))), filler, dtype=filler.dtype)
    for row, values in zip(array_BX, rows, strict=True):
        row[: len(values)] = values
    return array_BX


def _of_keys(keys_BX: IntArray, keys_P: IntArray, values_P: IntArray) -> IntArray:
    """Looks up the values of some keys in a sorted table; 0 for a key that the table lacks."""
    if not len(keys_P):
        return np.zeros(keys_BX.shape, dtype=np.int64)
    at_BX = np.minimum(np.searchsorted(keys_P, keys_BX), len(keys_P) - 1)
    return np.asarray(np.where(keys_P[at_BX] == keys_BX, values_P[at_BX], 0))
