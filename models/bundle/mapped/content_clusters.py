"""Writes and maps the clusters of the contents of a large catalogue, in which a new item looks for items like it.

Shapes: N known items, C clusters, P content width.
"""

from pathlib import Path

import numpy as np

from rqrec.models.array_file import write_array
from rqrec.models.bundle.layout import CONTENT_CLUSTERS
from rqrec.models.bundle.mapped.mapped_file import map_file
from rqrec.models.bundle.tables import check_numbers
from rqrec.models.vector_index import VectorIndex

LARGEST_CENTROID = 2.0  # centroids have unit length


def write_content_clusters(clusters: VectorIndex, folder: Path) -> None:
    """Writes the centroids, and the cluster of each known item, into a bundle's folder.

    Args:
        clusters: The index of the contents of the known items, in the order of their rows.
        folder: The bundle's folder.
    """
    centroids, numbers = CONTENT_CLUSTERS
    write_array(folder / centroids, clusters.centroids_CD)
    write_array(folder / numbers, clusters.cluster_M)


def read_content_clusters(folder: Path, *, known: int, columns: int) -> VectorIndex:
    """Maps and checks what `write_content_clusters` wrote.

    Args:
        folder: The bundle's folder.
        known: N, the expected number of known items.
        columns: P, the expected width of contents.

    Raises:
        ValueError: If a type or a shape is wrong, or a value is out of range.
    """
    centroids_CP, cluster_N = (map_file(folder, name) for name in CONTENT_CLUSTERS)
    if centroids_CP.dtype != np.float32 or centroids_CP.shape != (len(centroids_CP), columns):
        raise ValueError(
            f"expected float32 centroids of width {columns}, got {centroids_CP.dtype} {centroids_CP.shape}"
        )
    if cluster_N.dtype != np.uint16 or cluster_N.shape != (known,) or cluster_N.max() >= len(centroids_CP):
        raise ValueError(
            f"expected {known} clusters in [0, {len(centroids_CP)}), uint16, got {cluster_N.dtype} {cluster_N.shape}, "
            f"at most {cluster_N.max()}"
        )
    check_numbers(centroids_CP, LARGEST_CENTROID)
    return VectorIndex.from_clusters(centroids_CP, cluster_N)
