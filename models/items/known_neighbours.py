"""Makes the neighbours of new items from the known items of a bundle, whose arrays may be mapped from files."""

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.items.content_neighbours import ContentNeighbours, SomeRows


def known_neighbours(bundle: Bundle) -> ContentNeighbours:
    """Returns what computes the vectors of new items from those of the bundle's known items.

    Args:
        bundle: The bundle. Its contents and vectors are not copied if there are many.
    """
    known, learned = bundle.learned.known_rows, bundle.learned
    return ContentNeighbours(
        bundle.projection_EP,
        SomeRows(bundle.contents_RP, known),
        SomeRows(learned.vectors.rows, learned.leaf_of_row_R[known]),
        part_widths=bundle.manifest.retriever_config.part_widths,
        clusters=bundle.content_clusters,
    )
