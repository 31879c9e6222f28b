"""Adds candidates that a user's history points at to the items that the search found.

There are two kinds. Own items are items of the history itself, for data in which users choose the same items again and
again; the search reads only the last T items of a history, and it may not find older ones. Following items followed the
last items of the history in the training data (see `models.search.history.transitions`). Both kinds get a bonus on
their score, whose weights are learnt in training (`training.history_bonus_fit`). This module does not need PyTorch.

Shapes: B users, K beams, P pairs of a user and an item, X candidates of a user, N leaves, D width.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import BoolArray, FloatArray, IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.history.bonus import HistoryBonus
from rqrec.models.search.history.own_choices import PLACE, USER_BITS, OwnChoices
from rqrec.models.search.history.transitions import FollowingItems, Transitions
from rqrec.models.search.new.new_item_scores import NewItemScores
from rqrec.models.search.ranking import SearchOutput
from rqrec.models.vector_index import unit_rows

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
        barred = np.concatenate([(user << USER_BITS) | places for user, places in enumerate(excluded)])
        own = self._own(histories, barred, eligibility)
        following = self._following(histories, barred, eligibility)
        found_keys_BK = (np.arange(len(histories))[:, None] << USER_BITS) | found.leaves_BK.astype(np.int64)
        pointed_at = np.union1d(own.keys_P, following.keys_Q)
        missed_P = np.setdiff1d(pointed_at, found_keys_BK, assume_unique=True)
        missed_keys_BX, *missed = self._scored(found, missed_P)
        keys_BX = np.concatenate([found_keys_BK, missed_keys_BX], axis=1)
        parts = zip((found.log_probs_BK, found.scores_BK), missed, strict=True)
        log_probs_BX, scores_BX = (np.concatenate([one, other], axis=1) for one, other in parts)
        return Candidates(
            np.where(keys_BX < 0, NO_LEAF, keys_BX & PLACE),
            log_probs_BX,
            scores_BX,
            _of_keys(keys_BX, own.keys_P, own.counts_P),
            _of_keys(keys_BX, own.keys_P, own.ages_P),
            _of_keys(keys_BX, following.keys_Q, following.strengths_Q),
        )

    def _own(self, histories: Sequence[IntArray], barred: IntArray, eligibility: Eligibility) -> OwnChoices:
        if self._bonus.own is None:
            return OwnChoices.none()
        own = OwnChoices.from_histories(histories)
        own = own.select((own.keys_P & PLACE) < len(self._is_new_N))
        own = own.select(self._is_allowed(own.keys_P, barred, eligibility))
        return own.best(self._bonus.own.bonus(own.counts_P, own.ages_P), self._compared)

    def _following(self, histories: Sequence[IntArray], barred: IntArray, eligibility: Eligibility) -> FollowingItems:
        if self._transitions is None:
            return FollowingItems.none()
        following = self._transitions.after(histories)
        return following.select(self._is_allowed(following.keys_Q, barred, eligibility))

    def _is_allowed(self, keys_P: IntArray, barred: IntArray, eligibility: Eligibility) -> BoolArray:
        """Returns whether the item of each pair is not new, passes the filter and is not barred for its user."""
        leaves_P = keys_P & PLACE
        is_allowed_P: BoolArray = eligibility.allows(leaves_P) & ~self._is_new_N[leaves_P]
        return is_allowed_P & ~np.isin(keys_P, barred)

    def _scored(self, found: SearchOutput, keys_P: IntArray) -> tuple[IntArray, FloatArray, FloatArray]:
        """Estimates the log-probabilities and scores of items that the search did not find.

        An estimated log-probability is at most that of the last item that the search found.

        Returns:
            One row for each user, with its pairs first and -1, -inf and -inf in empty entries.
        """
        users_P, leaves_P = keys_P >> USER_BITS, keys_P & PLACE
        units_PD = unit_rows(self._vectors_ND[leaves_P])
        weighted_P = np.einsum("pd,pd->p", found.queries_BD[users_P], units_PD).astype(np.float32)
        is_found_BK = found.scores_BK > -np.inf
        lowest_B = np.where(is_found_BK, found.log_probs_BK, np.float32(0)).min(axis=1, initial=0)
        offset_P = self._estimator.offsets(found)[users_P]
        log_probs_P = np.minimum(weighted_P / (self._estimator.relevance_weight or 1) + offset_P, lowest_B[users_P])
        slot_P = np.arange(len(users_P)) - np.searchsorted(users_P, users_P)
        shape = len(found.leaves_BK), int(slot_P.max(initial=-1)) + 1

        def placed(values_P: NDArray[ScalarT], filler: float, dtype: type[ScalarT]) -> NDArray[ScalarT]:
            array_BX = np.full(shape, filler, dtype=dtype)
            array_BX[users_P, slot_P] = values_P
            return array_BX

        return (
            placed(keys_P, NO_LEAF, np.int64),
            placed(log_probs_P, -np.inf, np.float32),
            placed(log_probs_P + weighted_P, -np.inf, np.float32),
        )


def _of_keys(keys_BX: IntArray, keys_P: IntArray, values_P: NDArray[ScalarT]) -> NDArray[ScalarT]:
    """Looks up the values of some keys in a sorted table; 0 for a key that the table lacks."""
    if not len(keys_P):
        return np.zeros(keys_BX.shape, dtype=values_P.dtype)
    at_BX = np.minimum(np.searchsorted(keys_P, keys_BX), len(keys_P) - 1)
    return np.asarray(np.where(keys_P[at_BX] == keys_BX, values_P[at_BX], values_P.dtype.type(0)))
