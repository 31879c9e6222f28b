"""Vectors in clusters: few are looked at, and those are nearly always the nearest ones. Needs no torch.

An inverted file (Jégou et al. 2011, Product Quantization for Nearest Neighbor Search, §4.1) without the quantisation.

Shapes: M vectors, D width, C clusters, X rows.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import FloatArray, IntArray

MOST_CLUSTERS = 1024
SAMPLE_A_CLUSTER = 32  # vectors that the centroids are found by
ROUNDS = 5
AT_ONCE = 1 << 24  # products of vectors and centroids


@dataclass(frozen=True, eq=False)
class VectorIndex:
    """Rows of vectors at unit length, by the centroid nearest to each.

    Attributes:
        centroids_CD: At unit length.
        cluster_M: The cluster of each row, uint16.
        order_X: Rows by cluster; all of them, or those that `among` left.
        start_C: Where each cluster begins in `order_X`, and at last where the last one ends.
        trained_on: How many rows there were when the centroids were found.
    """

    centroids_CD: FloatArray
    cluster_M: NDArray[np.uint16]
    order_X: IntArray
    start_C: IntArray
    trained_on: int

    @classmethod
    def build(cls, units_MD: FloatArray, *, most_clusters: int = MOST_CLUSTERS) -> "VectorIndex":
        """Finds clusters by k-means on a sample; the same for the same vectors."""
        count = min(max(int(len(units_MD) ** 0.5), 1), most_clusters)
        size = min(len(units_MD), count * SAMPLE_A_CLUSTER)
        sample_XD = units_MD[np.random.default_rng(0).choice(len(units_MD), size, replace=False)]
        centroids_CD = sample_XD[:count].copy()
        for _ in range(ROUNDS):
            nearest_X = _nearest(sample_XD, centroids_CD)
            sums_CD = np.zeros_like(centroids_CD)
            np.add.at(sums_CD, nearest_X, sample_XD)
            lengths_C1 = np.linalg.norm(sums_CD, axis=1, keepdims=True)
            centroids_CD = np.where(lengths_C1 > 0, sums_CD / np.maximum(lengths_C1, 1e-12), centroids_CD)
        return cls._of(centroids_CD, _nearest(units_MD, centroids_CD), len(units_MD))

    @classmethod
    def _of(cls, centroids_CD: FloatArray, cluster_M: NDArray[np.uint16], trained_on: int) -> "VectorIndex":
        order_X = np.argsort(cluster_M, kind="stable")
        start_C = np.concatenate([[0], np.cumsum(np.bincount(cluster_M, minlength=len(centroids_CD)))])
        return cls(centroids_CD, cluster_M, order_X, start_C, trained_on)

    def __len__(self) -> int:
        return len(self.cluster_M)

    def reordered(self) -> "VectorIndex":
        """The index of the same rows in the order of `order_X`: those of a cluster lie side by side, quick to read."""
        return self._of(self.centroids_CD, self.cluster_M[self.order_X], self.trained_on)

    def with_rows(self, units_MD: FloatArray) -> "VectorIndex":
        """The index of more vectors, of which these are the first."""
        added_X = _nearest(units_MD[len(self) :], self.centroids_CD)
        return self._of(self.centroids_CD, np.concatenate([self.cluster_M, added_X]), self.trained_on)

    def among(self, mask_M: NDArray[np.bool_]) -> "VectorIndex":
        """The index of the rows at which the mask is true."""
        mask_X = mask_M[self.order_X]
        before_X = np.concatenate([[0], np.cumsum(mask_X)])
        return replace(self, order_X=self.order_X[mask_X], start_C=before_X[self.start_C])

    def rows(self, query_D: FloatArray, count: int) -> IntArray:
        """As many rows of the clusters nearest to a query, or all that there are; in no order."""
        nearest_C = np.argsort(-(self.centroids_CD @ query_D))
        ends_C = np.cumsum(np.diff(self.start_C)[nearest_C])
        wanted = nearest_C[: int(np.searchsorted(ends_C, count)) + 1].tolist()
        parts = [self.order_X[self.start_C[cluster] : self.start_C[cluster + 1]] for cluster in wanted]
        return np.concatenate(parts)[:count]


def _nearest(units_MD: FloatArray, centroids_CD: FloatArray) -> NDArray[np.uint16]:
    step = max(AT_ONCE // len(centroids_CD), 1)
    parts = [
        np.argmax(units_MD[begin : begin + step] @ centroids_CD.T, axis=1) for begin in range(0, len(units_MD), step)
    ]
    return np.concatenate([np.empty(0, dtype=np.int64), *parts]).astype(np.uint16)


def unit_rows(vectors_MD: FloatArray) -> FloatArray:
    """Every row at unit length; a row of zeros stays one."""
    lengths_M1 = np.linalg.norm(vectors_MD, axis=1, keepdims=True)
    return np.asarray(vectors_MD / np.maximum(lengths_M1, 1e-12), dtype=np.float32)
