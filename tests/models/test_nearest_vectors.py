"""The index of nearest vectors against the comparison of all vectors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rqrec.models import nearest_vectors
from rqrec.models.nearest_vectors import NearestVectors


def brute_force(
    vectors_MD: NDArray[np.float32], query_D: NDArray[np.float32], count: int, allowed_M: NDArray[np.bool_]
) -> list[int]:
    wide_MD, wide_D = vectors_MD.astype(np.float64), query_D.astype(np.float64)
    lengths_M = np.linalg.norm(wide_MD, axis=1) * np.linalg.norm(wide_D)
    cosines_M = np.divide(wide_MD @ wide_D, lengths_M, out=np.zeros(len(wide_MD)), where=lengths_M > 0)
    allowed = np.flatnonzero(allowed_M)
    return [int(row) for row in allowed[np.lexsort([allowed, -cosines_M[allowed].round(9)])][:count]]


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(nearest_vectors.COMPARED_ALL - 2, nearest_vectors.COMPARED_ALL + 900),
    width=st.integers(1, 40),
    kind=st.sampled_from(["even", "near", "equal", "spiky", "whole", "huge"]),
    count=st.integers(1, nearest_vectors.MOST_NEAREST),
    share=st.sampled_from([None, 1.0, 0.97, 0.001]),
    cut=st.floats(0, 1),
)
def test_the_nearest_are_those_of_brute_force(
    seed: int, size: int, width: int, kind: str, count: int, share: float | None, cut: float
) -> None:
    rng = np.random.default_rng(seed)
    vectors_MD = rng.standard_normal((size, width)).astype(np.float32)
    if kind == "near":
        vectors_MD = vectors_MD[:1] + vectors_MD * np.float32(1e-3)
    elif kind == "equal":
        vectors_MD = vectors_MD[rng.integers(0, 5, size)]
    elif kind == "spiky":
        vectors_MD **= 9
    elif kind == "whole":
        vectors_MD = np.rint(vectors_MD)  # with zeros and many ties
    elif kind == "huge":
        vectors_MD *= np.float32(1e6)
    query_D = vectors_MD[rng.integers(size)] if seed % 2 else rng.standard_normal(width).astype(np.float32)
    allowed_M = np.ones(size, dtype=np.bool_) if share is None else rng.random(size) < share
    begun = NearestVectors.empty(width).extended(vectors_MD.__getitem__, int(cut * size))
    index = begun.extended(vectors_MD.__getitem__, size)
    found = index.nearest(vectors_MD.__getitem__, query_D, count, None if share is None else allowed_M)
    expected = brute_force(vectors_MD, query_D, count, allowed_M)
    assert len(set(found.rows_K.tolist())) == len(expected)
    assert allowed_M[found.rows_K].all()
    wide_MD, wide_D = vectors_MD.astype(np.float64), query_D.astype(np.float64)
    for rows in (found.rows_K, expected):
        lengths = np.maximum(np.linalg.norm(wide_MD[rows], axis=1) * np.linalg.norm(wide_D), 1e-300)
        np.testing.assert_allclose(found.cosines_K, wide_MD[rows] @ wide_D / lengths, atol=1e-9)


def test_equal_vectors_come_in_the_order_of_their_rows() -> None:
    vectors_MD = np.tile(np.array([[0.3, 0.7, -0.1]], dtype=np.float32), (5000, 1))
    index = NearestVectors.empty(3).extended(vectors_MD.__getitem__, 5000)
    assert index.nearest(vectors_MD.__getitem__, vectors_MD[0], 3).rows_K.tolist() == [0, 1, 2]
    allowed_M = np.arange(5000) >= 7
    assert index.nearest(vectors_MD.__getitem__, np.zeros(3), 2, allowed_M).rows_K.tolist() == [7, 8]


def test_few_vectors_are_compared_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this the benchmark would measure a comparison of all vectors."""
    rng = np.random.default_rng(0)
    vectors_MD = rng.standard_normal((50_000, 64)).astype(np.float32)
    read: list[int] = []

    def vectors_of(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        read.append(len(rows))
        found: NDArray[np.float32] = vectors_MD[rows]
        return found

    index = NearestVectors.empty(64).extended(vectors_MD.__getitem__, len(vectors_MD))
    index.nearest(vectors_of, vectors_MD[3], 10)
    assert sum(read) < 1000
