"""Singular value decomposition (SVD) of a matrix, also if all its rows are equal or zero."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.decomposition import TruncatedSVD


def fit_svd(
    matrix_NM: NDArray[np.floating] | sparse.csr_matrix, width: int, *, seed: int
) -> tuple[TruncatedSVD, NDArray[np.floating]]:
    """Fits a truncated SVD to a matrix, and reduces its rows to W components.

    If all rows are equal, scikit-learn divides by a variance of 0 when it computes the explained variance, and warns.
    The explained variance is not used here, so the warning is suppressed.

    Args:
        matrix_NM: The matrix of N rows and M columns, dense or sparse.
        width: Number of components W, at least 1 and at most M.
        seed: Seed of the randomised algorithm.

    Returns:
        The fitted SVD, and the reduced rows, shape (N, W).
    """
    svd = TruncatedSVD(width, random_state=seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        return svd, svd.fit_transform(matrix_NM)
