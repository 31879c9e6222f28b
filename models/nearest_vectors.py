"""Finds the vectors with the largest cosines to a query. The result is exact, and most vectors are read in 8 bits only.

A first pass compares codes of 8 bits, which are a quarter of the memory of float32. It knows how far its cosines can be
wrong. So the few vectors that may be among the nearest are known for sure, and only these are compared exactly.
NumKong computes the products of the codes. This module does not need PyTorch.

Shapes: M vectors, X vectors that are read, D width, K nearest vectors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numkong
import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import BoolArray, FloatArray, IntArray
from rqrec.models.growing_array import GrowingArray

LARGEST_CODE = 127
COMPARED_ALL = 4096  # vectors that are all compared exactly
STRIPES = 32  # of the first estimate; COMPARED_ALL / STRIPES is the largest number of nearest vectors
MOST_NEAREST = COMPARED_ALL // STRIPES
ROWS_AT_ONCE = 1 << 14
ROUNDING = 1e-5  # more than what float32 loses in one cosine

VectorsOf = Callable[[IntArray], NDArray[np.floating]]


class Nearest(NamedTuple):
    """The vectors with the largest cosines to a query, the nearest first. Of equal cosines, the smaller row is first.

    Attributes:
        rows_K: The number of each vector, int64.
        cosines_K: The cosine of each vector and the query, float64, in [-1, 1]; 0 if one of both is all zeros.
    """

    rows_K: IntArray
    cosines_K: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NearestVectors:
    """An index of M vectors, numbered 0..M-1, that finds the nearest of them. It stores only their codes of 8 bits.

    A vector of unit length is about its codes times its scale.

    Attributes:
        codes: The codes of each vector, int8, shape (M, D), in [-127, 127].
        scales: The scale of each vector, float32.
        error: The largest distance between a vector of unit length and its codes times its scale.
    """

    codes: GrowingArray[np.int8]
    scales: GrowingArray[np.float32]
    error: float

    @classmethod
    def empty(cls, width: int, *, room: int = 0) -> "NearestVectors":
        """Makes an index without vectors, to be extended.

        Args:
            width: D, the width of a vector, at least 1.
            room: The number of vectors for which memory is reserved.
        """
        codes, scales = np.empty((0, width), dtype=np.int8), np.empty(0, dtype=np.float32)
        return cls(GrowingArray(codes, room=room), GrowingArray(scales, room=room), 0.0)

    def __len__(self) -> int:
        return len(self.scales)

    def extended(self, vectors_of: VectorsOf, size: int) -> "NearestVectors":
        """Returns an index of more vectors. This index does not change.

        Args:
            vectors_of: Function that returns the vectors of given rows, any float type, shape (X, D).
            size: The number of vectors of the new index. The vectors from `len(self)` on are read.
        """
        codes, scales, error = self.codes, self.scales, self.error
        for begin in range(len(self), size, ROWS_AT_ONCE):
            units_XD = _units(vectors_of(np.arange(begin, min(begin + ROWS_AT_ONCE, size))))
            codes_XD, scale_X = _coded(units_XD)
            distances_X = np.linalg.norm(units_XD - codes_XD * scale_X[:, None], axis=1)
            error = max(error, float(distances_X.max()))
            codes, scales = codes.extended(codes_XD), scales.extended(scale_X)
        return NearestVectors(codes, scales, error)

    def nearest(
        self, vectors_of: VectorsOf, query_D: NDArray[np.floating], count: int, allowed_M: BoolArray | None = None
    ) -> Nearest:
        """Finds the vectors with the largest cosines to a query.

        Args:
            vectors_of: Function that returns the vectors of given rows, as for `extended`.
            query_D: The query. It need not have unit length.
            count: K, the number of vectors to find, in [0, MOST_NEAREST].
            allowed_M: Whether each vector may be found, bool; None if all may.

        Returns:
            The nearest vectors: `count` of them, or all that may be found if they are fewer.
        """
        wide_D: NDArray[np.float64] = query_D.astype(np.float64)
        unit_D: NDArray[np.float64] = wide_D / max(float(np.linalg.norm(wide_D)), 1e-300)
        num_allowed = len(self) if allowed_M is None else int(np.count_nonzero(allowed_M))
        if num_allowed <= COMPARED_ALL or not unit_D.any():
            rows = np.arange(len(self)) if allowed_M is None else np.flatnonzero(allowed_M)
            return _best(vectors_of, rows if unit_D.any() else rows[:count], unit_D, count)
        scores_M, error = self._estimates(unit_D)
        if allowed_M is not None:
            scores_M[~allowed_M] = -np.inf
        first = np.flatnonzero(scores_M >= _level(scores_M, count))
        lowest = _best(vectors_of, first, unit_D, count).cosines_K[-1]
        return _best(vectors_of, np.flatnonzero(scores_M >= lowest - error), unit_D, count)

    def _estimates(self, unit_D: NDArray[np.float64]) -> tuple[FloatArray, float]:
        """The estimated cosine of each vector, and how far an estimate can be wrong.

        With u = s c + e for a vector and q = t d + f for the query, where c and d are codes, s and t scales and e and f
        what the codes lack: u q = s t (c d) + s c f + e q. The last two terms are at most (1 + |e|) |f| and |e|.
        """
        codes_1D, scale_1 = _coded(unit_D[None].astype(np.float32))
        lacking = float(np.linalg.norm(unit_D - codes_1D[0] * scale_1[0].astype(np.float64)))
        products_M1 = np.asarray(numkong.dots_packed(self.codes.rows, numkong.dots_pack(codes_1D)))
        scores_M = np.multiply(products_M1[:, 0], self.scales.rows, dtype=np.float32)
        scores_M *= scale_1[0]
        return scores_M, (1 + self.error) * lacking + self.error + ROUNDING


def _level(scores_M: FloatArray, count: int) -> np.float32:
    """A score that at least `count` vectors reach, and few others: of the largest score of each of many stripes."""
    num_stripes = len(scores_M) // STRIPES
    largest = scores_M[: num_stripes * STRIPES].reshape(STRIPES, num_stripes).max(axis=0)
    level = np.partition(largest, -count)[-count]
    if np.isneginf(level):  # too few stripes have a vector that may be found
        level = np.partition(scores_M, -count)[-count]
    return np.float32(level)


def _best(vectors_of: VectorsOf, rows_X: IntArray, unit_D: NDArray[np.float64], count: int) -> Nearest:
    """Compares some vectors exactly, and returns the nearest of them."""
    parts = [_cosines(vectors_of(rows_X[at : at + ROWS_AT_ONCE]), unit_D) for at in range(0, len(rows_X), ROWS_AT_ONCE)]
    cosines_X = np.concatenate([np.empty(0), *parts])
    order = np.lexsort([rows_X, -cosines_X])[:count]
    return Nearest(rows_X[order], cosines_X[order])


def _cosines(vectors_XD: NDArray[np.floating], unit_D: NDArray[np.float64]) -> NDArray[np.float64]:
    """The exact cosines of vectors and a query of unit length."""
    vectors_XD = vectors_XD.astype(np.float64)
    lengths_X = np.sqrt(np.einsum("xd,xd->x", vectors_XD, vectors_XD))
    products_X = np.einsum("xd,d->x", vectors_XD, unit_D)
    return np.asarray(np.clip(products_X / np.maximum(lengths_X, 1e-300), -1, 1), dtype=np.float64)


def _units(vectors_XD: NDArray[np.floating]) -> FloatArray:
    """The vectors at unit length. A vector of zeros stays as it is."""
    scaled_XD = vectors_XD.astype(np.float32)
    largest_X1 = np.abs(scaled_XD).max(axis=1, keepdims=True)
    scaled_XD /= np.maximum(largest_X1, np.finfo(np.float32).tiny)  # their squares stay within float32
    return np.asarray(scaled_XD / np.maximum(np.linalg.norm(scaled_XD, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def _coded(units_XD: FloatArray) -> tuple[NDArray[np.int8], FloatArray]:
    """The codes and the scale of each vector."""
    scale_X = np.abs(units_XD).max(axis=1) / np.float32(LARGEST_CODE)
    codes_XD = np.rint(units_XD / np.maximum(scale_X, 1e-12)[:, None]).astype(np.int8)
    return codes_XD, np.asarray(scale_X, dtype=np.float32)
