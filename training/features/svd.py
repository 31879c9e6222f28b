"""Singular value decomposition of a matrix whose rows may all be equal or zero."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.decomposition import TruncatedSVD


def fit_svd(
    matrix_NM: NDArray[np.floating] | sparse.csr_matrix, width: int, *, seed: int
) -> tuple[TruncatedSVD, NDArray[np.floating]]:
    """Fits a truncated SVD.

    scikit-learn also divides by the variance of the matrix, which is 0 if all rows are equal. That result is not used,
    so its warning is silenced.

    Args:
        matrix_NM: The matrix.
        width: Number of components W, at least 1 and at most M.
        seed: Seed of the randomised algorithm.

    Returns:
        The decomposition, and the reduced rows of shape (N, W).
    """
    svd = TruncatedSVD(width, random_state=seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        return svd, svd.fit_transform(matrix_NM)
