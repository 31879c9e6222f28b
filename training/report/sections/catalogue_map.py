"""The section with the map of the catalogue: similar items stand near each other, and the first code is the colour."""

import numpy as np
from matplotlib.colors import hsv_to_rgb
from numpy.typing import NDArray

from rqrec.training.insight.item_map import draw_map
from rqrec.training.report.material import Material
from rqrec.training.report.plots import INK, plot
from rqrec.training.report.section import Figure, Section

MOST = 2000  # items of a map: 5 seconds
FEWEST = 8  # items of a map
NAMED, SPACE = 12, (0.32, 0.08)  # items with a name on the map; the room of a name, as shares of width and height
GOLDEN = 0.618034  # of the circle of hues, so that codes with near numbers differ


def catalogue_map(material: Material) -> Section:
    """Returns the section with the map."""
    introduction = (
        "Each point is an item. Its place comes from its latent vector in the RQ-VAE (content and co-occurrence) by "
        "t-SNE, which keeps neighbours together; distances across the map mean little."
    )
    if len(material.sample_S) < FEWEST:
        return Section("Map of the catalogue", introduction, notes=["The catalogue is too small for a map."])
    chosen = np.sort(np.random.default_rng(0).permutation(len(material.sample_S))[:MOST])
    places_S2, rows_S = draw_map(material.latents_SD[chosen]), material.sample_S[chosen]
    codes_S = material.ids.codes_NL[rows_S, 0]
    title = "Map of the catalogue, coloured by first code"
    with plot(title, "t-SNE 1 (no unit)", "t-SNE 2 (no unit)", width=5.4, height=4.2) as drawn:
        axes = drawn.axes
        axes.scatter(places_S2[:, 0], places_S2[:, 1], s=4, c=_colours(codes_S), linewidths=0, rasterized=True)
        for name, place in _named(material, rows_S, places_S2):
            axes.annotate(name, (place[0], place[1]), color=INK, fontsize=8.5, ha="center", va="bottom", weight="bold")
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
    figure = Figure(
        title,
        drawn.svg,
        f"{len(rows_S):,} items; items of one colour have the same first code and should stand together in one patch. "
        "Some popular items have their names.",
        "Colours mixed like sand: the first code does not follow the similarity of items.",
        is_wide=True,
    )
    return Section("Map of the catalogue", introduction, [figure])


def _colours(codes_S: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns a colour for each code, of medium lightness, so that it is seen on light and dark pages."""
    hues_S = codes_S * GOLDEN % 1.0
    colours: NDArray[np.float64] = hsv_to_rgb(
        np.stack([hues_S, np.full(len(hues_S), 0.72), np.full(len(hues_S), 0.85)], 1)
    )
    return colours


def _named(
    material: Material, rows_S: NDArray[np.int64], places_S2: NDArray[np.float32]
) -> list[tuple[str, NDArray[np.float32]]]:
    """Returns the names and places of the most popular items that stand far enough from each other."""
    named: list[int] = []
    least_2 = np.array(SPACE) * np.ptp(places_S2, axis=0)
    for one in np.argsort(-material.popularity_N[rows_S], kind="stable"):
        if all((np.abs(places_S2[one] - places_S2[other]) > least_2).any() for other in named):
            named.append(int(one))
        if len(named) == NAMED:
            break
    return [(name, places_S2[one]) for name, one in zip(material.names(rows_S[named]), named, strict=True)]
