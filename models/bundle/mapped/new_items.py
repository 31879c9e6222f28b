"""Writes and maps the index of the new items of a large catalogue, which the model did not learn to generate.

Shapes: M new items, C clusters, D width of vectors.
"""

from pathlib import Path

import numpy as np

from rqrec.models.array_file import write_array
from rqrec.models.array_types import FloatArray, IntArray
from rqrec.models.bundle.layout import NEW_ITEMS, NEW_VECTORS
from rqrec.models.bundle.mapped.mapped_file import map_file
from rqrec.models.bundle.tables import check_numbers
from rqrec.models.growing_array import GrowingArray
from rqrec.models.search.new.new_item_index import NewItemIndex
from rqrec.models.vector_index import VectorIndex

LARGEST_UNIT = 1.001  # vectors and centroids have unit length, but for rounding


def write_new_items(folder: Path, popularity_N: IntArray, vectors_ND: FloatArray) -> None:
    """Writes leaves, vectors and clusters of the new items into a bundle's folder. They are few or none in some.

    Args:
        folder: The bundle's folder.
        popularity_N: How often users chose the item of each leaf in the training data; a new item was never chosen.
        vectors_ND: The vector of the item of each leaf, float32.
    """
    index = NewItemIndex.from_vectors(leaves_M := np.flatnonzero(popularity_N == 0), vectors_ND[leaves_M])
    leaves, centroids, numbers = (folder / name for name in NEW_ITEMS)
    clusters = index.clusters
    if clusters is None:  # the service makes the index of few items itself
        clusters = VectorIndex.from_clusters(np.empty((0, 0), dtype=np.float32), np.empty(0, dtype=np.uint16))
    write_array(leaves, index.places.rows[: len(clusters)].astype(np.int32))
    write_array(centroids, clusters.centroids_CD)
    write_array(numbers, clusters.cluster_M)
    write_array(folder / NEW_VECTORS, index.units.rows)


def read_new_items(folder: Path, *, popularity_N: IntArray, width: int) -> NewItemIndex | None:
    """Maps what `write_new_items` wrote. The vectors are not checked.

    Args:
        folder: The bundle's folder.
        popularity_N: How often users chose the item of each leaf in the training data.
        width: D, the expected width of the vectors.

    Returns:
        The index; None if there are so few new items that it has no clusters.

    Raises:
        ValueError: If a type or a shape is wrong, or a value is out of range.
    """
    leaves_M, centroids_CD, cluster_M = (np.load(folder / name, allow_pickle=False) for name in NEW_ITEMS)
    if not len(leaves_M):
        return None
    if not np.array_equal(np.sort(leaves_M), np.flatnonzero(popularity_N == 0)):
        raise ValueError("the new items must be those that nobody chose in the training data")
    if (centroids_CD.dtype, centroids_CD.shape) != (np.float32, (len(centroids_CD), width)):
        raise ValueError(f"expected float32 centroids of width {width}, got {centroids_CD.dtype} {centroids_CD.shape}")
    check_numbers(centroids_CD, LARGEST_UNIT)
    is_fitting = cluster_M.dtype == np.uint16 and cluster_M.shape == leaves_M.shape
    if not is_fitting or (cluster_M[1:] < cluster_M[:-1]).any() or cluster_M[-1] >= len(centroids_CD):
        raise ValueError(f"expected {len(leaves_M)} clusters below {len(centroids_CD)}, uint16, in ascending order")
    memory = map_file(folder, NEW_VECTORS, room=len(leaves_M))
    if memory.dtype != np.float32 or memory.shape != (2 * len(leaves_M), width):
        found = (len(memory) - len(leaves_M), *memory.shape[1:])
        raise ValueError(f"expected {len(leaves_M)} float32 vectors of width {width}, got {memory.dtype} {found}")
    units = GrowingArray.from_memory(memory, len(leaves_M))
    clusters = VectorIndex.from_clusters(centroids_CD, cluster_M)
    return NewItemIndex(GrowingArray(leaves_M.astype(np.int64)), units, clusters)
