"""Items that the retriever never learnt to generate: how they get a vector, and how they get into a list.

Nobody chose them in training, or they were written since. Their semantic IDs are in the trie, but the code decoder has
only ever been told that nothing is there. What speaks for them is their content: they take the mean vector of the known
items most like them (content to collaborative vector, as van den Oord et al. 2013 do with a network), are rated by the
cosine like every item, and join the candidates that the search found. Needs no torch.

Shapes: B users, k items asked for, K beams, N leaves or rows, M new items, E feature columns, P content width, D width.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.eligibility import Eligibility
from models.ranking import Ranking, SearchOutput, rankings
from models.trie import IntArray

FloatArray = NDArray[np.float32]
NEIGHBOURS = 20
NEIGHBOUR_SHARPNESS = 10.0  # of the softmax over their cosines
ANCHORS = 10
# Taken off a rating, for a mean of vectors is surer than it should be. At 1.0 the lists of Amazon Beauty hold about as
# large a share of new items as the catalogue does.
CAUTION = 1.0
COSINES_AT_ONCE = 1 << 25


class ContentNeighbours:
    """Known items by content.

    Args:
        projection_EP: Features to content; zero for columns that say nothing of a new item.
        contents_NP: What it makes of each known item's features, at unit length; any precision.
        vectors_ND: The known items' vectors.
    """

    def __init__(self, projection_EP: FloatArray, contents_NP: NDArray[np.floating], vectors_ND: FloatArray) -> None:
        self._projection_EP = projection_EP
        self._contents_NP = contents_NP
        self._vectors_ND = vectors_ND

    def vectors(self, features_ME: FloatArray) -> FloatArray:
        """The mean direction of the nearest known items, at their mean length; shape (M, D)."""
        contents_MP = content_of(features_ME, self._projection_EP)
        rows_at_once = max(COSINES_AT_ONCE // len(self._contents_NP), 1)
        contents_PN = self._contents_NP.T.astype(np.float32)
        parts = [
            self._of(contents_MP[begin : begin + rows_at_once], contents_PN)
            for begin in range(0, len(contents_MP), rows_at_once)
        ]
        return np.concatenate([np.zeros((0, self._vectors_ND.shape[1]), dtype=np.float32), *parts])

    def _of(self, contents_MP: FloatArray, contents_PN: FloatArray) -> FloatArray:
        cosines_MN = contents_MP @ contents_PN
        count = min(NEIGHBOURS, cosines_MN.shape[1])
        nearest_MX = np.argpartition(-cosines_MN, count - 1, axis=1)[:, :count]
        cosines_MX = np.take_along_axis(cosines_MN, nearest_MX, axis=1)
        weights_MX = np.exp(NEIGHBOUR_SHARPNESS * (cosines_MX - cosines_MX.max(axis=1, keepdims=True)))
        weights_MX /= weights_MX.sum(axis=1, keepdims=True)
        vectors_MXD = self._vectors_ND[nearest_MX]
        lengths_MX = np.linalg.norm(vectors_MXD, axis=2)
        means_MD = np.einsum("mx,mxd->md", weights_MX / np.maximum(lengths_MX, 1e-12), vectors_MXD)
        lengths_M1 = (weights_MX * lengths_MX).sum(axis=1, keepdims=True)
        return np.asarray(unit_rows(means_MD) * lengths_M1, dtype=np.float32)


def content_of(features_ME: FloatArray, projection_EP: FloatArray) -> FloatArray:
    """Items' content at unit length, shape (M, P)."""
    return unit_rows(features_ME @ projection_EP)


def unit_rows(vectors_MD: FloatArray) -> FloatArray:
    """Every row at unit length; a row of zeros stays one."""
    lengths_M1 = np.linalg.norm(vectors_MD, axis=1, keepdims=True)
    return np.asarray(vectors_MD / np.maximum(lengths_M1, 1e-12), dtype=np.float32)


class NewItems:
    """The new items of a catalogue, as candidates beside those that the search found.

    Args:
        leaves_M: Their leaves in ascending order.
        item_vectors_ND: The catalogue's vectors by leaf.
        relevance_weight: Of the rating beside the log-probability (see `models.retriever.Retriever.rerank`).
    """

    def __init__(self, leaves_M: IntArray, item_vectors_ND: FloatArray, *, relevance_weight: float) -> None:
        self.leaves_M = leaves_M
        self._unit_DM = unit_rows(item_vectors_ND[leaves_M]).T
        self._is_new_N = np.zeros(len(item_vectors_ND), dtype=np.bool_)
        self._is_new_N[leaves_M] = True
        self._weight = relevance_weight

    @classmethod
    def of(cls, is_new_N: NDArray[np.bool_], item_vectors_ND: FloatArray, *, relevance_weight: float) -> "NewItems":
        """Those of the leaves that are new; none where ratings count for nothing."""
        leaves_M = np.flatnonzero(is_new_N & (relevance_weight > 0))
        return cls(leaves_M, item_vectors_ND, relevance_weight=relevance_weight)

    @classmethod
    def none(cls) -> "NewItems":
        """No new items, in this catalogue and in those that follow it."""
        return cls(np.empty(0, dtype=np.int64), np.empty((0, 1), dtype=np.float32), relevance_weight=0.0)

    def over(self, is_new_N: NDArray[np.bool_], item_vectors_ND: FloatArray) -> "NewItems":
        """Those of another catalogue."""
        return NewItems.of(is_new_N, item_vectors_ND, relevance_weight=self._weight)

    def __len__(self) -> int:
        return len(self.leaves_M)

    def merged(
        self,
        found: SearchOutput,
        excluded: Sequence[IntArray],
        eligibility: Eligibility,
        *,
        k: int,
        reserved: Sequence[int],
    ) -> list[Ranking]:
        """The k best of the found and the new items.

        A new item's log-probability is estimated: its rating, plus what the found items' log-probabilities have over
        their ratings on average.

        Args:
            found: What the search found; new items among it are passed over.
            excluded: For each user, leaves that it must not get.
            eligibility: The leaves that any user may get.
            k: How many items to return.
            reserved: For each user, how many of them shall be new items, if so many are eligible.
        """
        ratings_BM = found.queries_BD @ self._unit_DM / self._weight - CAUTION
        log_probs_BM = np.minimum(ratings_BM + self._offsets(found)[:, None], 0.0)
        scores_BM = log_probs_BM + self._weight * ratings_BM
        leaves_BK, log_probs_BK, scores_BK = found.leaves_BK[:, :k], found.log_probs_BK[:, :k], found.scores_BK[:, :k]
        is_full = scores_BK.shape[1] == k and not self._is_new_N[leaves_BK].any()
        if is_full and not any(reserved) and (scores_BM.max(axis=1) <= scores_BK[:, -1]).all():  # as nearly always
            return rankings(leaves_BK, log_probs_BK, scores_BK)
        scores_BM[:, ~eligibility.allows(self.leaves_M)] = -np.inf
        user_X = np.repeat(np.arange(len(excluded)), [len(leaves) for leaves in excluded])
        leaf_X = np.concatenate([np.empty(0, dtype=np.int64), *excluded])
        barred_X = self._is_new_N[leaf_X]
        scores_BM[user_X[barred_X], np.searchsorted(self.leaves_M, leaf_X[barred_X])] = -np.inf
        is_known_BK = (found.leaves_BK >= 0) & ~self._is_new_N[found.leaves_BK]
        # The candidates of both kinds side by side; of equal scores the one that comes first is taken.
        leaves_BX = np.concatenate([found.leaves_BK, np.broadcast_to(self.leaves_M, scores_BM.shape)], axis=1)
        log_probs_BX = np.concatenate([found.log_probs_BK, log_probs_BM], axis=1)
        scores_BX = np.concatenate([np.where(is_known_BK, found.scores_BK, -np.inf), scores_BM], axis=1)
        wanted_BX = scores_BX
        if any(reserved):
            wanted_BX = scores_BX.copy()
            _reserve(wanted_BX[:, -len(self) :], np.asarray(reserved))
        chosen_BK = np.argsort(-wanted_BX, axis=1, kind="stable")[:, :k]
        chosen_scores_BK = np.take_along_axis(scores_BX, chosen_BK, axis=1)
        if any(reserved):  # chosen before better ones, and listed where they belong
            order_BK = np.argsort(-chosen_scores_BK, axis=1, kind="stable")
            chosen_BK = np.take_along_axis(chosen_BK, order_BK, axis=1)
            chosen_scores_BK = np.take_along_axis(chosen_scores_BK, order_BK, axis=1)
        return rankings(
            np.take_along_axis(leaves_BX, chosen_BK, axis=1),
            np.take_along_axis(log_probs_BX, chosen_BK, axis=1),
            chosen_scores_BK,
        )

    def _offsets(self, found: SearchOutput) -> FloatArray:
        """Each user's mean of log-probability less rating over the best found items, 0 where there are none."""
        log_probs_BX, scores_BX = found.log_probs_BK[:, :ANCHORS], found.scores_BK[:, :ANCHORS]
        is_found_BX = scores_BX > -np.inf
        log_probs_BX, scores_BX = np.where(is_found_BX, log_probs_BX, 0), np.where(is_found_BX, scores_BX, 0)
        differences_B = (log_probs_BX - (scores_BX - log_probs_BX) / self._weight).sum(axis=1)
        return np.asarray(differences_B / np.maximum(is_found_BX.sum(axis=1), 1), dtype=np.float32)


def _reserve(scores_BM: FloatArray, reserved_B: IntArray) -> None:
    """Raises each user's best new items, as many as are reserved and eligible, above everything."""
    place_BM = np.argsort(np.argsort(-scores_BM, axis=1, kind="stable"), axis=1)
    scores_BM[(place_BM < reserved_B[:, None]) & (scores_BM > -np.inf)] = np.inf
