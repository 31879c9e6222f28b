"""Adds candidates that a user's history points at to the items that the search found.

There are two kinds. Own items are items of the history itself, for data in which users choose the same items again and
again; the search reads only the last T items of a history, and it may not find older ones. Following items followed the
last items of the history in the training data (see `models.search.history.transitions`). Both kinds get a bonus on
their score, whose weights are learnt in training (`training.history.bonus_fit`). This module does not need PyTorch.

Shapes: B users, K beams, E excluded leaves of a user, P pairs of a user and an item, X candidates of a user,
Y items of a user with excluded ones, N leaves, D width.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import BoolArray, FloatArray, IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.history.bonus import HistoryBonus
from rqrec.models.search.history.own_choices import PLACE, USER_BITS, OwnChoices
from rqrec.models.search.history.transitions import Transitions
from rqrec.models.search.new.new_item_scores import NewItemScores
from rqrec.models.search.ranking import SearchOutput
from rqrec.models.trie.trie import NO_LEAF

ScalarT = TypeVar("ScalarT", np.int64, np.float32)
COMPARED = 128  # different items of a history that join, those of the largest bonus
MOST_PLACES = 5  # of an item: excluded, found, an own item, after the last item, after the last item but one


class Candidates(NamedTuple):
    """Items that may be recommended to each of B users: those that the search found, own items and following items.

    They are in no order. The scores lack the bonus of own items and following items.

    Attributes:
        leaves_BX: The leaf of each candidate, int64.
        log_probs_BX: The natural log-probability of each candidate, float32. It is an estimate for items that the
            search did not find.
        scores_BX: The score of each candidate without the bonus, float32; -inf in an entry that is no candidate. The
            other values of such an entry have no meaning.
        counts_BX: How often the user chose the item, int64. It is 0 for an item that gets no bonus as an own item:
            because it is not in the history, because it is new, or because too many items of the history have a larger
            bonus.
        ages_BX: How many choices the user made after the last choice of the item, int64; 0 where `counts_BX` is 0.
        strengths_BX: How strongly the item follows the user's last two items, float32; 0 if it does not follow them.
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
        self._has_new = bool(is_new_N.any())
        # Not np.linalg.norm: it makes a copy of all vectors.
        lengths_N = np.sqrt(np.einsum("nd,nd->n", item_vectors_ND, item_vectors_ND))
        self._lengths_N = np.maximum(lengths_N, np.finfo(np.float32).tiny)
        self._estimator = NewItemScores(relevance_weight)

    def merged(
        self,
        found: SearchOutput,
        histories: Sequence[IntArray],
        excluded_BE: IntArray,
        eligibility: Eligibility,
    ) -> SearchOutput:
        """Ranks the items that the search found, own items and following items together.

        Args:
            found: The items that the search found.
            histories: For each user, the places (item numbers) of the history items, oldest first, int64.
            excluded_BE: For each user, the leaves that must not be returned: distinct, padded with -1, int64.
            eligibility: The items that pass the filter, the same for all users.

        Returns:
            The best candidates of each user, best first, as many as `found` has entries. The scores include the bonus.
        """
        if self._bonus.own is None and self._transitions is None:
            return found
        all_of = self.candidates(found, histories, excluded_BE, eligibility)
        scores_BX = all_of.scores_BX + self._bonus.of(all_of.counts_BX, all_of.ages_BX, all_of.strengths_BX)
        best_BK = np.argsort(-scores_BX, axis=1, kind="stable")[:, : found.leaves_BK.shape[1]]
        users_B1 = np.arange(len(histories))[:, None]
        scores_BK = scores_BX[users_B1, best_BK]
        leaves_BK = np.where(scores_BK > -np.inf, all_of.leaves_BX[users_B1, best_BK], NO_LEAF).astype(np.int32)
        log_probs_BK = np.where(leaves_BK >= 0, all_of.log_probs_BX[users_B1, best_BK], np.float32(-np.inf))
        return SearchOutput(leaves_BK, log_probs_BK, scores_BK, found.queries_BD)

    def candidates(
        self,
        found: SearchOutput,
        histories: Sequence[IntArray],
        excluded_BE: IntArray,
        eligibility: Eligibility,
    ) -> Candidates:
        """Lists the candidates of each user: the items that the search found, own items and following items.

        Items that are new, excluded or do not pass the filter are not added to the found items. If a user has very many
        own items, only those with the largest bonus are added.

        All users are computed at once: indexing releases the GIL, and a thread under load waits long to get it back.

        Args:
            found: The items that the search found.
            histories: For each user, the places (item numbers) of the history items, oldest first, int64.
            excluded_BE: For each user, the leaves that must not be returned: distinct, padded with -1, int64.
            eligibility: The items that pass the filter, the same for all users.

        Returns:
            The candidates, in no order. Their scores do not include the bonus. `HistoryItems.merged` adds it.
        """
        added = self._own(histories, excluded_BE, eligibility)
        if self._transitions is not None:
            leaves_BX, strengths_BX = self._transitions.after(histories)
            added = added.beside(_Block.empty(leaves_BX)._replace(strengths_BX=strengths_BX))
        is_allowed_BX = added.leaves_BX >= 0
        if eligibility.num_leaves < len(eligibility.mask_N):
            is_allowed_BX &= eligibility.mask_N[added.leaves_BX]
        if self._has_new:
            is_allowed_BX &= ~self._is_new_N[added.leaves_BX]
        log_probs_BX, scores_BX = self._scored(found, added.leaves_BX)
        # An item may stand in several places. The first one counts: if it is excluded or found, it is not added.
        before = np.concatenate([excluded_BE, found.leaves_BK], axis=1)
        is_first_BY, joined = _Block.empty(before).beside(added).joined()
        is_allowed_BX &= is_first_BY[:, before.shape[1] :]
        of_candidates = slice(excluded_BE.shape[1], None)
        return Candidates(
            joined.leaves_BX[:, of_candidates],
            np.concatenate([found.log_probs_BK, log_probs_BX], axis=1),
            np.concatenate([found.scores_BK, np.where(is_allowed_BX, scores_BX, np.float32(-np.inf))], axis=1),
            joined.counts_BX[:, of_candidates],
            joined.ages_BX[:, of_candidates],
            joined.strengths_BX[:, of_candidates],
        )

    def _own(self, histories: Sequence[IntArray], excluded_BE: IntArray, eligibility: Eligibility) -> "_Block":
        """Returns the own items of each user that may be candidates, at most `compared` of them."""
        if self._bonus.own is None:
            return _Block.empty(np.empty((len(histories), 0), dtype=np.int64))
        own = OwnChoices.from_histories(histories)
        own = own.select((own.keys_P & PLACE) < len(self._is_new_N))
        leaves_P = own.keys_P & PLACE
        barred_BE = (np.arange(len(histories))[:, None] << USER_BITS) | excluded_BE
        is_barred_P = np.isin(own.keys_P, barred_BE[excluded_BE >= 0])
        own = own.select(eligibility.mask_N[leaves_P] & ~self._is_new_N[leaves_P] & ~is_barred_P)
        own = own.best(self._bonus.own.bonus(own.counts_P, own.ages_P), self._compared)
        users_P = own.keys_P >> USER_BITS
        slot_P = np.arange(len(users_P)) - np.searchsorted(users_P, users_P)
        shape = len(histories), int(slot_P.max(initial=-1)) + 1
        leaves_BX, counts_BX, ages_BX = (np.full(shape, filler, dtype=np.int64) for filler in (NO_LEAF, 0, 0))
        leaves_BX[users_P, slot_P] = own.keys_P & PLACE
        counts_BX[users_P, slot_P], ages_BX[users_P, slot_P] = own.counts_P, own.ages_P
        return _Block(leaves_BX, counts_BX, ages_BX, np.zeros(shape, dtype=np.float32))

    def _scored(self, found: SearchOutput, leaves_BX: IntArray) -> tuple[FloatArray, FloatArray]:
        """Estimates the log-probability and the score of each item as if the search did not find it.

        An estimated log-probability is at most that of the last item that the search found.
        """
        weighted_BX = (self._vectors_ND[leaves_BX] @ found.queries_BD[:, :, None])[:, :, 0] / self._lengths_N[leaves_BX]
        lowest_B = np.where(found.leaves_BK >= 0, found.log_probs_BK, np.float32(0)).min(axis=1, initial=0)
        scale = np.float32(self._estimator.relevance_weight or 1)
        offsets_B1 = self._estimator.offsets(found)[:, None]
        log_probs_BX = np.minimum(weighted_BX / scale + offsets_B1, lowest_B[:, None]).astype(np.float32, copy=False)
        return log_probs_BX, log_probs_BX + weighted_BX


class _Block(NamedTuple):
    """Items of B users, with what the bonus depends on."""

    leaves_BX: IntArray
    counts_BX: IntArray
    ages_BX: IntArray
    strengths_BX: FloatArray

    @classmethod
    def empty(cls, leaves_BX: IntArray) -> "_Block":
        """Returns items that get no bonus."""
        nothing_BX = np.zeros(leaves_BX.shape, dtype=np.int64)
        return cls(leaves_BX, nothing_BX, nothing_BX, np.zeros(leaves_BX.shape, dtype=np.float32))

    def beside(self, other: "_Block") -> "_Block":
        return _Block(
            np.concatenate([self.leaves_BX, other.leaves_BX], axis=1),
            np.concatenate([self.counts_BX, other.counts_BX], axis=1),
            np.concatenate([self.ages_BX, other.ages_BX], axis=1),
            np.concatenate([self.strengths_BX, other.strengths_BX], axis=1),
        )

    def joined(self) -> tuple[BoolArray, "_Block"]:
        """Sums up what equal items of a user have.

        Returns:
            Whether each entry is the first one of its item, and the items; the first entry of an item has the sums.
        """
        users_B1 = np.arange(len(self.leaves_BX))[:, None]
        order_BX = np.argsort(self.leaves_BX, axis=1, kind="stable")
        leaves_BX = self.leaves_BX[users_B1, order_BX]
        repeats = [leaves_BX[:, steps:] == leaves_BX[:, :-steps] for steps in range(1, MOST_PLACES)]

        def summed(values_BX: NDArray[ScalarT]) -> NDArray[ScalarT]:
            if not values_BX.any():
                return values_BX
            sorted_BX = values_BX[users_B1, order_BX]
            sums_BX = sorted_BX.copy()
            for steps, is_repeat_BX in enumerate(repeats, start=1):
                sums_BX[:, :-steps] += sorted_BX[:, steps:] * is_repeat_BX
            placed_BX = np.empty_like(sums_BX)
            placed_BX[users_B1, order_BX] = sums_BX
            return placed_BX

        is_first_BX: BoolArray = np.ones(leaves_BX.shape, dtype=np.bool_)
        is_first_BX[users_B1, order_BX[:, 1:]] = ~repeats[0]
        sums = summed(self.counts_BX), summed(self.ages_BX), summed(self.strengths_BX)
        return is_first_BX, _Block(self.leaves_BX, *sums)
