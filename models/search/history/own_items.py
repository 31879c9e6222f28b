"""Recommends items of the user's own history, for data in which users choose the same items again and again.

An own item is an item of the user's history. The search reads only the last T items of a history, and it may not find
older ones. Here own items become candidates beside the found items. Each own item gets a bonus on its score, which
depends on how often and how recently the user chose the item. The weights of the bonus are learnt in training
(`training.history.bonus_fit`). If a user has very many own items, only those with the largest bonus become candidates.
This module does not need PyTorch.

Shapes: B users, K found items, E excluded leaves of a user, P pairs of a user and an own item, X candidates of a user,
N leaves, D width.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import BoolArray, FloatArray, IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.history.own_choices import PLACE, USER_BITS, OwnChoices
from rqrec.models.search.history.own_weights import OwnItemWeights
from rqrec.models.search.new.new_item_scores import NewItemScores
from rqrec.models.search.ranking import SearchOutput
from rqrec.models.trie.trie import NO_LEAF
from rqrec.models.vector_index import unit_rows

ScalarT = TypeVar("ScalarT", np.int64, np.float32)
COMPARED = 128  # different items of a history that join, those of the largest bonus


class Candidates(NamedTuple):
    """Items that may be recommended to each of B users: those that the search found, and items of the user's history.

    They are in no order. The scores lack the bonus that items of the history get because the user chose them before.

    Attributes:
        leaves_BX: The leaf of each candidate; -1 in an empty entry.
        log_probs_BX: The natural log-probability of each candidate. It is an estimate for items of the history that the
            search did not find.
        scores_BX: The score of each candidate without the bonus; -inf in an empty entry.
        counts_BX: How often the user chose the item. It is 0 for an item that gets no bonus: because it is not in the
            history, because it is new, or because too many items of the history have a larger bonus.
        ages_BX: How many choices the user made after the last choice of the item; 0 where `counts_BX` is 0.
        strengths_BX: How strongly the item follows the user's last items; 0 for items that the search did not find.
    """

    leaves_BX: IntArray
    log_probs_BX: FloatArray
    scores_BX: FloatArray
    counts_BX: IntArray
    ages_BX: IntArray
    strengths_BX: FloatArray

    @classmethod
    def from_found(cls, found: SearchOutput) -> "Candidates":
        """Makes candidates of the items that the search found, as if none of them were in the user's history."""
        none_BX = np.zeros(found.leaves_BK.shape, dtype=np.int64)
        strengths_BX = none_BX.astype(np.float32) if found.strengths_BK is None else found.strengths_BK
        return cls(
            found.leaves_BK.astype(np.int64), found.log_probs_BK, found.scores_BK, none_BX, none_BX, strengths_BX
        )


class OwnItems:
    """Adds the items of a user's own history to the candidates for recommendation, beside those that the search found.

    Args:
        weights: The weights of the bonus that is added to the scores of items of the history.
        is_new_N: Whether the item of each leaf is new, bool (see `models.search.new.new_items`). New items in the
            history do not become candidates here.
        item_vectors_ND: The vector of the item of each leaf, float32.
        relevance_weight: The weight of relevance in score = log_prob + relevance_weight * relevance.
        compared: The largest number of history items of a user that get the bonus: those with the largest bonus. Any
            other item of the history is a candidate only if the search found it, and it gets no bonus.
    """

    def __init__(
        self,
        weights: OwnItemWeights,
        is_new_N: BoolArray,
        item_vectors_ND: FloatArray,
        *,
        relevance_weight: float,
        compared: int = COMPARED,
    ) -> None:
        self._weights, self._is_new_N, self._vectors_ND = weights, is_new_N, item_vectors_ND
        self._compared = compared
        self._estimator = NewItemScores(relevance_weight)

    def merged(
        self,
        found: SearchOutput,
        histories: Sequence[IntArray],
        excluded_BE: IntArray,
        eligibility: Eligibility,
    ) -> SearchOutput:
        """Ranks the items that the search found and the items of the history together.

        Args:
            found: The items that the search found.
            histories: For each user, the places (item numbers) of the history items, oldest first, int64.
            excluded_BE: For each user, the leaves that must not be returned: distinct, padded with -1, int64.
            eligibility: The items that pass the filter, the same for all users.

        Returns:
            All candidates of each user, best first: the entries of `found`, and the items of the history that
            `candidates` adds to them. The scores of items of the history include the bonus that they get because the
            user chose them before.
        """
        all_of = self.candidates(found, histories, excluded_BE, eligibility)
        bonus_BX = self._weights.bonus(all_of.counts_BX, all_of.ages_BX)
        scores_BX: FloatArray = np.add(all_of.scores_BX, bonus_BX, dtype=np.float32)
        order_BX = np.argsort(-scores_BX, axis=1, kind="stable")
        return SearchOutput(
            np.take_along_axis(all_of.leaves_BX, order_BX, axis=1).astype(np.int32),
            np.take_along_axis(all_of.log_probs_BX, order_BX, axis=1).astype(np.float32, copy=False),
            np.take_along_axis(scores_BX, order_BX, axis=1).astype(np.float32, copy=False),
            found.queries_BD,
            offsets_B=self._estimator.offsets(found),
            lowest_B=self._estimator.lowest(found),
        )

    def candidates(
        self,
        found: SearchOutput,
        histories: Sequence[IntArray],
        excluded_BE: IntArray,
        eligibility: Eligibility,
    ) -> Candidates:
        """Lists the candidates of each user: the items that the search found and items of the user's history.

        Items of the history that are new, excluded or do not pass the filter are not added to the found items.
        If a user has very many, only those with the largest bonus are added.

        Args:
            found: The items that the search found.
            histories: For each user, the places (item numbers) of the history items, oldest first, int64.
            excluded_BE: For each user, the leaves that must not be returned: distinct, padded with -1, int64.
            eligibility: The items that pass the filter, the same for all users.

        Returns:
            The candidates, in no order. Their scores do not include the bonus that items of the history get because the
            user chose them before. `OwnItems.merged` adds it.
        """
        own = self._allowed(OwnChoices.from_histories(histories), excluded_BE, eligibility)
        found_keys_BK = (np.arange(len(histories))[:, None] << USER_BITS) | found.leaves_BK.astype(np.int64)
        at_BK = np.searchsorted(own.keys_P, found_keys_BK)
        at_BK = np.minimum(at_BK, max(len(own.keys_P) - 1, 0))
        is_own_BK = (found.leaves_BK >= 0) & (own.keys_P[at_BK] == found_keys_BK) if len(own.keys_P) else at_BK < 0
        counts_BK, ages_BK = (np.zeros(at_BK.shape, dtype=np.int64) for _ in range(2))
        counts_BK[is_own_BK], ages_BK[is_own_BK] = own.counts_P[at_BK[is_own_BK]], own.ages_P[at_BK[is_own_BK]]
        is_missed_P = np.ones(len(own.keys_P), dtype=np.bool_)
        is_missed_P[at_BK[is_own_BK]] = False
        missed = self._scored(found, own.select(is_missed_P))
        from_search = Candidates.from_found(found)._replace(counts_BX=counts_BK, ages_BX=ages_BK)
        parts = zip(from_search, missed, strict=True)
        return Candidates(*(np.concatenate([one, other], axis=1) for one, other in parts))

    def _allowed(self, own: OwnChoices, excluded_BE: IntArray, eligibility: Eligibility) -> OwnChoices:
        own = own.select((own.keys_P & PLACE) < len(self._is_new_N))
        leaves_P = own.keys_P & PLACE
        barred_BE = (np.arange(len(excluded_BE))[:, None] << USER_BITS) | excluded_BE
        is_barred_P = np.isin(own.keys_P, barred_BE[excluded_BE >= 0])
        own = own.select(eligibility.mask_N[leaves_P] & ~self._is_new_N[leaves_P] & ~is_barred_P)
        return own.best(self._weights.bonus(own.counts_P, own.ages_P), self._compared)

    def _scored(self, found: SearchOutput, own: OwnChoices) -> Candidates:
        """Estimates the scores of own items that the search did not find.

        An estimated log-probability is at most that of the last item that the search found.
        """
        users_P, leaves_P = own.keys_P >> USER_BITS, own.keys_P & PLACE
        units_PD = unit_rows(self._vectors_ND[leaves_P])
        weighted_P = np.einsum("pd,pd->p", found.queries_BD[users_P], units_PD).astype(np.float32)
        lowest_B, offset_P = self._estimator.lowest(found), self._estimator.offsets(found)[users_P]
        log_probs_P = np.minimum(weighted_P / (self._estimator.relevance_weight or 1) + offset_P, lowest_B[users_P])
        slot_P = np.arange(len(users_P)) - np.searchsorted(users_P, users_P)
        shape = len(found.leaves_BK), int(slot_P.max(initial=-1)) + 1

        def placed(values_P: NDArray[ScalarT], filler: float, dtype: type[ScalarT]) -> NDArray[ScalarT]:
            array_BX = np.full(shape, filler, dtype=dtype)
            array_BX[users_P, slot_P] = values_P
            return array_BX

        return Candidates(
            placed(leaves_P, NO_LEAF, np.int64),
            placed(log_probs_P, -np.inf, np.float32),
            placed(log_probs_P + weighted_P, -np.inf, np.float32),
            placed(own.counts_P, 0, np.int64),
            placed(own.ages_P, 0, np.int64),
            np.zeros(shape, dtype=np.float32),
        )
