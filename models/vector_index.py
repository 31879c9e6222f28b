"""An approximate nearest-neighbour index: vectors are grouped in clusters, and a query reads only the nearest clusters.

The index is an inverted file without quantisation (Jégou et al. 2011, Product Quantization for Nearest Neighbor
Search, §4.1). This module does not need PyTorch.

Shapes: M vectors, D width, C clusters, X vectors that the index can find.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import FloatArray, IntArray

MOST_CLUSTERS = 1024
SAMPLE_PER_CLUSTER = 32  # vectors that k-means reads
ROUNDS = 5  # of k-means
PRODUCTS_AT_ONCE = 1 << 24  # of vectors and centroids


class Vectors(Protocol):
    """Vectors at unit length: an array, or an object that reads them when they are asked for."""

    def __len__(self) -> int:
        """Returns the number of vectors."""

    def __getitem__(self, rows: slice | IntArray, /) -> FloatArray:
        """Returns the vectors of some rows, float32."""


@dataclass(frozen=True, eq=False)
class VectorIndex:
    """An approximate nearest-neighbour index of M vectors at unit length, which are numbered 0..M-1.

    Each vector belongs to the cluster of its nearest centroid. The index does not store the vectors.

    Attributes:
        centroids_CD: The centroids of C clusters, at unit length, float32, shape (C, D).
        cluster_M: The cluster of each vector, uint16.
        order_X: The numbers of the vectors that the index can find, sorted by cluster, int64. These are all M vectors,
            or only those that `among` has selected.
        start_C: Cluster c consists of the vectors `order_X[start_C[c]:start_C[c + 1]]`; int64, shape (C + 1,).
        trained_on: The number of vectors in the index when the centroids were computed. With it a caller decides when
            the index has grown so much that it should be built again.
    """

    centroids_CD: FloatArray
    cluster_M: NDArray[np.uint16]
    order_X: IntArray
    start_C: IntArray
    trained_on: int

    @classmethod
    def build(cls, units_MD: Vectors, *, most_clusters: int = MOST_CLUSTERS) -> "VectorIndex":
        """Builds an index of vectors. The centroids come from k-means on a sample of the vectors.

        The random numbers have a fixed seed, so equal vectors give an equal index.

        Args:
            units_MD: At least one vector, scaled to unit length, float32, shape (M, D).
            most_clusters: The largest number of clusters. The index has sqrt(M) clusters, but not more than this.
        """
        count = min(max(int(len(units_MD) ** 0.5), 1), most_clusters)
        size = min(len(units_MD), count * SAMPLE_PER_CLUSTER)
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
    def from_clusters(cls, centroids_CD: FloatArray, cluster_M: NDArray[np.uint16]) -> "VectorIndex":
        """Makes the index again that `build` made.

        Args:
            centroids_CD: Its centroids, float32.
            cluster_M: The cluster of each vector, uint16.
        """
        return cls._of(centroids_CD, cluster_M, len(cluster_M))

    @classmethod
    def _of(cls, centroids_CD: FloatArray, cluster_M: NDArray[np.uint16], trained_on: int) -> "VectorIndex":
        order_X = np.argsort(cluster_M, kind="stable")
        start_C = np.concatenate([[0], np.cumsum(np.bincount(cluster_M, minlength=len(centroids_CD)))])
        return cls(centroids_CD, cluster_M, order_X, start_C, trained_on)

    def __len__(self) -> int:
        return len(self.cluster_M)

    def reordered(self) -> "VectorIndex":
        """Returns the index of the same vectors after they are sorted by cluster: vector `order_X[i]` becomes vector i.

        The caller must sort its array of vectors in the same way. The vectors of a cluster are then adjacent in memory.
        """
        return self._of(self.centroids_CD, self.cluster_M[self.order_X], self.trained_on)

    def with_rows(self, units_MD: FloatArray) -> "VectorIndex":
        """Returns an index of more vectors, with the same centroids. This index does not change.

        Args:
            units_MD: All vectors, at unit length, float32: the vectors of this index, then the new vectors.
        """
        added_X = _nearest(units_MD[len(self) :], self.centroids_CD)
        return self._of(self.centroids_CD, np.concatenate([self.cluster_M, added_X]), self.trained_on)

    def among(self, mask_M: NDArray[np.bool_]) -> "VectorIndex":
        """Returns an index that finds only vectors where the mask is true. The mask is bool, of shape (M,)."""
        mask_X = mask_M[self.order_X]
        before_X = np.concatenate([[0], np.cumsum(mask_X)])
        return replace(self, order_X=self.order_X[mask_X], start_C=before_X[self.start_C])

    def rows(self, query_D: FloatArray, count: int) -> IntArray:
        """Finds vectors near a query: the vectors of the nearest clusters, in no particular order.

        Args:
            query_D: The query vector, shape (D,). It need not have unit length.
            count: How many vectors to find.

        Returns:
            The numbers of `count` vectors, or of all vectors if the index finds fewer; int64.
        """
        nearest_C = np.argsort(-(self.centroids_CD @ query_D))
        ends_C = np.cumsum(np.diff(self.start_C)[nearest_C])
        wanted = nearest_C[: int(np.searchsorted(ends_C, count)) + 1].tolist()
        parts = [self.order_X[self.start_C[cluster] : self.start_C[cluster + 1]] for cluster in wanted]
        return np.concatenate(parts)[:count]


def _nearest(units_MD: Vectors, centroids_CD: FloatArray) -> NDArray[np.uint16]:
    """The nearest centroid of each vector."""
    step = max(PRODUCTS_AT_ONCE // len(centroids_CD), 1)
    parts = [
        np.argmax(units_MD[begin : begin + step] @ centroids_CD.T, axis=1) for begin in range(0, len(units_MD), step)
    ]
    return np.concatenate([np.empty(0, dtype=np.int64), *parts]).astype(np.uint16)


def unit_rows(vectors_MD: FloatArray) -> FloatArray:
    """Returns the vectors scaled to unit length, float32. A vector of zeros stays as it is."""
    lengths_M1 = np.linalg.norm(vectors_MD, axis=1, keepdims=True)
    return np.asarray(vectors_MD / np.maximum(lengths_M1, 1e-12), dtype=np.float32)
