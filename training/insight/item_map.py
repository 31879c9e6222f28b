"""Draws a map of the catalogue: a point in the plane for each item, so that items with similar vectors are near.

The item vectors are reduced to 32 numbers by a principal component analysis (PCA). t-SNE (van der Maaten and Hinton
2008, Visualizing Data using t-SNE) places the items, or a sample of them if there are many. Each further item is placed
between the points of its nearest neighbours in the sample.

Shapes: N items, D width of item vectors, C components, S items of the sample, M items to place, K neighbours, R known
items.
"""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from rqrec.models.array_types import FloatArray, IntArray

COMPONENTS = 32
SAMPLE = 4000  # items that t-SNE places
FITTED_ON = 20_000  # vectors from which the components are computed
PERPLEXITY = 30.0
ITERATIONS = 350
FEWEST = 12  # items; fewer lie on their first two components
NEIGHBOURS = 3
AT_ONCE = 4096  # items that are placed in one step; it needs 4 * AT_ONCE * SAMPLE bytes
DECIMALS = 4


def draw_map(vectors_ND: FloatArray, known_R2: FloatArray | None = None) -> FloatArray:
    """Draws a map of N items.

    For 1,000,000 items of width 320 it needs about 0.4 GB beside the vectors.

    Args:
        vectors_ND: The item vectors.
        known_R2: The places of the first R items on an earlier map, which they keep; None to draw a new map.

    Returns:
        The place of each item, float32 of shape (N, 2). On a new map the coordinates lie in [-1, 1].
    """
    with threadpool_limits(1):  # sums of several threads differ in their last bits, and t-SNE magnifies this
        return _drawn(_reduced(vectors_ND), known_R2)


def _drawn(reduced_NC: FloatArray, known_R2: FloatArray | None) -> FloatArray:
    if known_R2 is not None and len(known_R2):
        sample = _sample(len(known_R2))
        new_M2 = _between(reduced_NC[len(known_R2) :], reduced_NC[sample], known_R2[sample])
        return np.concatenate([known_R2, new_M2]).astype(np.float32)
    sample = _sample(len(reduced_NC))
    placed_S2 = _embedded(reduced_NC[sample])
    if len(sample) == len(reduced_NC):
        return placed_S2
    map_N2 = _between(reduced_NC, reduced_NC[sample], placed_S2)
    map_N2[sample] = placed_S2
    return map_N2


def _reduced(vectors_ND: FloatArray) -> FloatArray:
    count, width = vectors_ND.shape
    pca = PCA(min(COMPONENTS, count, width), svd_solver="randomized", random_state=0)
    with np.errstate(invalid="ignore", divide="ignore"):  # the explained variance of equal vectors, not used here
        pca.fit(vectors_ND[_sample(count, FITTED_ON)])
    components_CD, mean_D = pca.components_.astype(np.float32), pca.mean_.astype(np.float32)
    return np.asarray(vectors_ND @ components_CD.T - mean_D @ components_CD.T, dtype=np.float32)


def _sample(count: int, size: int = SAMPLE) -> IntArray:
    if count <= size:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, size, replace=False))


def _embedded(reduced_SC: FloatArray) -> FloatArray:
    """Places items by t-SNE, and scales the map to [-1, 1]."""
    count = len(reduced_SC)
    if count < FEWEST or not np.ptp(reduced_SC, axis=0).any():
        map_S2 = np.zeros((count, 2), dtype=np.float32)
        map_S2[:, : reduced_SC.shape[1]] = reduced_SC[:, :2]
    else:
        perplexity = min(PERPLEXITY, (count - 1) / 3)
        tsne = TSNE(2, perplexity=perplexity, max_iter=ITERATIONS, init="pca", random_state=0, n_jobs=1)
        map_S2 = tsne.fit_transform(reduced_SC)
    map_S2 = map_S2 - (map_S2.min(axis=0) + map_S2.max(axis=0)) / 2
    return np.asarray(np.round(map_S2 / (np.abs(map_S2).max() or 1), DECIMALS), dtype=np.float32)


def _between(reduced_MC: FloatArray, sample_SC: FloatArray, placed_S2: FloatArray) -> FloatArray:
    """Places items between their nearest neighbours in a sample; the nearer one weighs more."""
    count = min(NEIGHBOURS, len(sample_SC))
    map_M2, squares_S = np.empty((len(reduced_MC), 2), dtype=np.float32), (sample_SC**2).sum(axis=1)
    for begin in range(0, len(reduced_MC), AT_ONCE):
        some_MC = reduced_MC[begin : begin + AT_ONCE]
        distances_MS = squares_S - 2 * some_MC @ sample_SC.T  # without the square of the item itself
        near_MK = np.argpartition(distances_MS, count - 1, axis=1)[:, :count]
        near_distances_MK = np.take_along_axis(distances_MS, near_MK, axis=1) + (some_MC**2).sum(axis=1)[:, None]
        near_distances_MK = np.maximum(near_distances_MK, 0)
        weights_MK = 1 / (near_distances_MK + 1e-6 + 0.1 * near_distances_MK.max(axis=1, keepdims=True))
        weights_MK /= weights_MK.sum(axis=1, keepdims=True)
        map_M2[begin : begin + AT_ONCE] = np.einsum("mk,mkc->mc", weights_MK, placed_S2[near_MK])
    return np.round(map_M2, DECIMALS)
