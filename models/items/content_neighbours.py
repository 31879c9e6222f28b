"""Computes the vectors of new items from the known items with the most similar content.

A known item is one that users chose in the training data; all other items are new. Van den Oord et al. 2013 map content
to a collaborative vector by a network; here the vector is a weighted mean over the most similar known items. This
module does not need PyTorch.

Shapes: M new items, N known items, X known items to compare with, Y nearest of these, E feature columns,
P content width, W width of item vectors.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import FloatArray, IntArray
from rqrec.models.vector_index import VectorIndex, Vectors, unit_rows

NEIGHBOURS = 20
NEIGHBOUR_SHARPNESS = 10.0  # factor of the cosines in the softmax over the neighbours
COSINES_AT_ONCE = 1 << 25
# A new item is compared with all known items up to COMPARED_ALL. Of more, it is compared with COMPARED of them, from
# the nearest of CONTENT_CLUSTERS clusters.
COMPARED_ALL, COMPARED, CONTENT_CLUSTERS = 100_000, 8192, 256
LARGEST_FEATURE = 1e6  # content of features up to this one, and its square, stay within float32


class ContentNeighbours:
    """Computes vectors of new items from the known items, which users chose in the training data.

    Args:
        projection_EP: The matrix that projects E feature columns to a content vector of width P, float32. Its rows are
            zero for the feature columns that a new item lacks.
        contents_NP: The content vectors of the N known items, at unit length, any float type: an array or `SomeRows`.
        vectors_NW: The item vectors of the N known items, float32: an array, or `SomeRows`.
        part_widths: The widths of the parts of a vector, in their order; None for one part. The mean of each part is
            computed separately, so each keeps its share of the length.
        clusters: The clusters of the contents, if they are known; None to compute them when they are needed.
    """

    def __init__(
        self,
        projection_EP: FloatArray,
        contents_NP: "NDArray[np.floating] | SomeRows",
        vectors_NW: "FloatArray | SomeRows",
        *,
        part_widths: Sequence[int] | None = None,
        clusters: VectorIndex | None = None,
    ) -> None:
        self._projection_EP = projection_EP
        contents = contents_NP
        if not isinstance(contents, SomeRows):
            contents = SomeRows(contents, np.arange(len(contents)))
        # The contents of many items stay where they are, such as in a file.
        self._contents_NP: Vectors = contents if len(contents) > COMPARED_ALL else contents[:]
        self._vectors_NW, self._clusters = vectors_NW, clusters
        self._part_ends = np.cumsum(part_widths or [])[:-1]

    def vectors(self, features_ME: FloatArray) -> FloatArray:
        """Computes the vectors of new items as a mean over the `NEIGHBOURS` known items with the most similar content.

        The weights of the mean are a softmax of the cosines between the content of the new item and the contents of
        the known items. The directions and the lengths of the known items' vectors are averaged separately. If there
        are more than `COMPARED_ALL` known items, a new item is compared only with known items in nearby clusters.

        Args:
            features_ME: The features of M new items, float32, shape (M, E).

        Returns:
            The item vectors of the new items, shape (M, W), float32.
        """
        contents_MP = content_of(features_ME, self._projection_EP)
        if self._index is not None:
            rows = [self._index.rows(content_P, COMPARED) for content_P in contents_MP]
            parts = [
                self._mean(content_P[None] @ self._contents_NP[row_X].T, row_X)
                for content_P, row_X in zip(contents_MP, rows, strict=True)
            ]
        else:
            at_once = max(COSINES_AT_ONCE // len(self._contents_NP), 1)
            everyone_N = np.arange(len(self._contents_NP))
            parts = [
                self._mean(contents_MP[begin : begin + at_once] @ self._contents_NP[:].T, everyone_N)
                for begin in range(0, len(contents_MP), at_once)
            ]
        return np.concatenate([self._vectors_NW[:0], *parts])

    @cached_property
    def _index(self) -> VectorIndex | None:
        """The clusters of many known items; None for few known items, which are all compared."""
        if len(self._contents_NP) <= COMPARED_ALL:
            return None
        return self._clusters or content_clusters(self._contents_NP)

    def _mean(self, cosines_MX: FloatArray, row_X: IntArray) -> FloatArray:
        """The mean direction of the nearest of the known items in `row_X`, at their mean length, shape (M, W)."""
        count = min(NEIGHBOURS, cosines_MX.shape[1])
        nearest_MY = np.argpartition(-cosines_MX, count - 1, axis=1)[:, :count]
        cosines_MY = np.take_along_axis(cosines_MX, nearest_MY, axis=1)
        weights_MY = np.exp(NEIGHBOUR_SHARPNESS * (cosines_MY - cosines_MY.max(axis=1, keepdims=True)))
        weights_MY /= weights_MY.sum(axis=1, keepdims=True)
        vectors_MYW = self._vectors_NW[row_X[nearest_MY]]
        parts = np.split(vectors_MYW, self._part_ends, axis=2)
        return np.concatenate([_mean_vectors(part_MYD, weights_MY) for part_MYD in parts], axis=1)


class SomeRows:
    """Some rows of an array that need not be in memory. They are read when they are asked for.

    Args:
        array: Rows of numbers, of any float type.
        rows_N: The rows of the array that belong to these.
    """

    def __init__(self, array: NDArray[np.floating], rows_N: NDArray[np.integer]) -> None:
        self._array, self._rows_N = array, rows_N

    def __len__(self) -> int:
        """Returns the number of rows."""
        return len(self._rows_N)

    def __getitem__(self, numbers: slice | IntArray) -> FloatArray:
        """Returns some of the rows, float32. They are given by their numbers among these rows."""
        return np.asarray(self._array[self._rows_N[numbers]], dtype=np.float32)


def content_clusters(contents_NP: Vectors) -> VectorIndex:
    """Makes the clusters of the contents of many known items, from which a new item is compared with the nearest.

    Args:
        contents_NP: The contents, at unit length.
    """
    return VectorIndex.build(contents_NP, most_clusters=CONTENT_CLUSTERS)


def _mean_vectors(vectors_MYD: FloatArray, weights_MY: FloatArray) -> FloatArray:
    """The weighted means of the directions of vectors, at the weighted means of their lengths, shape (M, D)."""
    lengths_MY = np.linalg.norm(vectors_MYD, axis=2)
    means_MD = np.einsum("my,myd->md", weights_MY / np.maximum(lengths_MY, 1e-12), vectors_MYD)
    lengths_M1 = (weights_MY * lengths_MY).sum(axis=1, keepdims=True)
    return np.asarray(unit_rows(means_MD) * lengths_M1, dtype=np.float32)


def content_of(features_ME: FloatArray, projection_EP: FloatArray) -> FloatArray:
    """Computes the content vectors of items: the product of features and projection, scaled to unit length.

    Args:
        features_ME: The features of M items, float32, shape (M, E).
        projection_EP: The matrix that projects features to content vectors, float32, shape (E, P).

    Returns:
        The content vectors, shape (M, P), float32.
    """
    largest_M1 = np.abs(features_ME).max(axis=1, keepdims=True, initial=0)
    if (largest_M1 > LARGEST_FEATURE).any():  # only the direction of the features counts
        features_ME = np.asarray(features_ME / np.maximum(largest_M1, 1), dtype=np.float32)
    return unit_rows(features_ME @ projection_EP)
