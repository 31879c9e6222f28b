"""Content vectors: short vectors of item features, by which known items similar to a new item are found.

Shapes: N items, E feature columns, P content width, W item vector width.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from rqrec.models.array_types import FloatArray
from rqrec.models.items.content_neighbours import ContentNeighbours, content_of
from rqrec.models.tokenizer.featurizer import Featurizer, Source
from rqrec.training.features.features import Features
from rqrec.training.features.svd import fit_svd

CONTENT_WIDTH = 128  # Amazon Beauty has 1,022 columns; with a width of 64, the recall of new items falls by a fifth


def fit_content(features: Features, *, seed: int = 0) -> FloatArray:
    """Computes the matrix that projects item features to content vectors, by an SVD of the features.

    Content vectors are short vectors. By their cosine, known items similar to a new item are found. Before the SVD, the
    features of each item are scaled to a vector of length 1.

    Feature columns that a new item cannot have, such as co-occurrence, have no influence on content vectors. All number
    attributes together have as much influence as one column.

    Args:
        features: The items' features.
        seed: Seed of the SVD.

    Returns:
        The matrix, float32, shape (E, P). `models.items.content_neighbours.content_of` applies it.
    """
    factors_E = features.featurizer.of_content_E * _number_factors(features.featurizer)
    unit_NE = normalize(features.features_NE * factors_E)
    width = min(CONTENT_WIDTH, *unit_NE.shape)
    svd, _ = fit_svd(unit_NE, width, seed=seed)
    return np.asarray(svd.components_.T * factors_E[:, None], dtype=np.float32)


def _number_factors(featurizer: Featurizer) -> NDArray[np.float32]:
    """The root of each number's share in the weight of all numbers, shape (E,); 1 for other columns."""
    total = sum(block.weight for block in featurizer.blocks if block.source is Source.NUMBER)
    factors = [
        ((block.weight / total) ** 0.5 if block.source is Source.NUMBER and total else 1.0)
        for block in featurizer.blocks
    ]
    return np.repeat(factors, [block.width + block.is_marked for block in featurizer.blocks]).astype(np.float32)


def with_new_items(
    item_vectors_NW: FloatArray,
    features: Features,
    projection_EP: FloatArray,
    popularity_N: NDArray[np.integer],
    *,
    part_widths: Sequence[int] | None = None,
) -> FloatArray:
    """Replaces the vector of each item without training interactions by a mean vector of items with similar content.

    If no item has training interactions, nothing is replaced.

    Args:
        item_vectors_NW: The item vectors of the trained retriever, by item_index.
        features: The items' features.
        projection_EP: The matrix that projects features to content vectors; see `fit_content`.
        popularity_N: Number of training interactions of each item, by item_index.
        part_widths: The widths of the parts of an item vector, in their order; None for one part.

    Returns:
        Item vectors by item_index, shape (N, W).
    """
    is_new_N = popularity_N == 0
    if not is_new_N.any() or is_new_N.all():
        return item_vectors_NW
    known_NP = content_of(features.features_NE[~is_new_N], projection_EP)
    neighbours = ContentNeighbours(projection_EP, known_NP, item_vectors_NW[~is_new_N], part_widths=part_widths)
    vectors_NW = item_vectors_NW.copy()
    vectors_NW[is_new_N] = neighbours.vectors(features.features_NE[is_new_N])
    return vectors_NW
