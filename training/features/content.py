"""What of an item's features says what it is like, in few numbers, and the known items laid out by it.

Shapes: N items, E feature columns, P content width, D width.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import normalize

from rqrec.models.array_types import FloatArray
from rqrec.models.items.content_neighbours import ContentNeighbours, content_of
from rqrec.training.features.features import Features

CONTENT_WIDTH = 128  # of 1,022 columns on Amazon Beauty; 64 lose a fifth of the new items' recall


def fit_content(features: Features, *, seed: int = 0) -> FloatArray:
    """The principal directions of the features at unit length, less the columns that a new item lacks.

    Returns:
        projection_EP, for `models.search.new_items.content_of`.
    """
    of_content_E = features.featurizer.of_content_E
    unit_NE = normalize(features.features_NE * of_content_E)
    width = min(CONTENT_WIDTH, *unit_NE.shape)
    svd = TruncatedSVD(width, random_state=seed).fit(unit_NE)
    return np.asarray(svd.components_.T * of_content_E[:, None], dtype=np.float32)


def with_new_items(
    item_vectors_ND: FloatArray, features: Features, projection_EP: FloatArray, popularity_N: NDArray[np.integer]
) -> FloatArray:
    """Item vectors by item_index, those that nobody chose in training taken from their content."""
    is_new_N = popularity_N == 0
    if not is_new_N.any() or is_new_N.all():
        return item_vectors_ND
    known_NP = content_of(features.features_NE[~is_new_N], projection_EP)
    neighbours = ContentNeighbours(projection_EP, known_NP, item_vectors_ND[~is_new_N])
    vectors_ND = item_vectors_ND.copy()
    vectors_ND[is_new_N] = neighbours.vectors(features.features_NE[is_new_N])
    return vectors_ND
