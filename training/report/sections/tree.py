"""The section about the tree of semantic IDs: its largest nodes, and whether items of a node belong together."""

import numpy as np
from numpy.typing import NDArray

from rqrec.training.report.describe import Describer, Trait
from rqrec.training.report.material import Material
from rqrec.training.report.plots import MUTED, SERIES, plot
from rqrec.training.report.section import Figure, Section
from rqrec.training.report.tables import Cell, table

NODES, LABELS, WORDS, EXAMPLES = 12, 3, 4, 3


def tree(material: Material) -> Section:
    """Returns the section about the tree of semantic IDs."""
    return Section(
        "The tree of semantic IDs",
        "A semantic ID is a path in a tree: the first code chooses a branch, the next one a branch of it. The "
        "retriever walks down this tree, so items of one node should be alike and be chosen by the same people.",
        [_largest(material), *_together(material)],
    )


def _largest(material: Material) -> Figure:
    describer = Describer(material.items, material.featurizer)
    codes, counts = np.unique(material.ids.codes_NL[:, 0], return_counts=True)
    rows = []
    for code in codes[np.argsort(-counts, kind="stable")[:NODES]]:
        rows_G = np.flatnonzero(material.ids.codes_NL[:, 0] == code)
        popular_G = rows_G[np.argsort(-material.popularity_N[rows_G], kind="stable")[:EXAMPLES]]
        branches = len(np.unique(material.ids.codes_NL[rows_G, 1]))
        rows.append(
            [
                Cell(f"{code}"),
                Cell(f"{len(rows_G):,}", note=f"{branches} branches"),
                Cell(_traits(describer.labels(rows_G, LABELS)), is_number=False),
                Cell(_traits(describer.words(rows_G, WORDS)), is_number=False),
                Cell("; ".join(material.names(popular_G)), is_number=False),
            ]
        )
    return Figure(
        "The largest nodes of the first level",
        table(["code", "items", "labels", "words", "most popular items"], rows),
        "For each of the commonest first codes: the labels and words that set its items apart, with the share of its "
        "items that have them, and in brackets the share of all items.",
        "Nodes with nothing in common, or one node with most of the catalogue: the first code says little.",
        is_wide=True,
    )


def _traits(traits: list[Trait]) -> str:
    return ", ".join(f"{one.text} {one.share:.0%} ({one.share_elsewhere:.0%})" for one in traits) or "–"


def _together(material: Material) -> list[Figure]:
    figures = material.ids.figures
    levels = [level for level in range(material.rqvae.config.num_levels) if f"together_{level}" in figures]
    if not levels:
        return []
    together = np.array([figures[f"together_{level}"] for level in levels])
    chance = np.array([figures[f"together_by_chance_{level}"] for level in levels])
    names = ["first code" if level == 0 else f"first {level + 1} codes" for level in levels]
    return [_consecutive(names, together, chance), _alike(names, [figures[f"similarity_{level}"] for level in levels])]


def _consecutive(names: list[str], together: NDArray[np.float64], chance: NDArray[np.float64]) -> Figure:
    title = "Consecutive items of a user with equal codes"
    places = np.arange(len(names))
    with plot(title, "equal codes", "pairs of consecutive items (%)") as drawn:
        drawn.axes.bar(places - 0.2, 100 * together, 0.38, color=SERIES[0], label="in the sequences")
        drawn.axes.bar(
            places + 0.2,
            100 * chance,
            0.38,
            color=SERIES[1],
            label="by chance",
            hatch="//",
            edgecolor=SERIES[1],
            fill=False,
        )
        for place, one, by_chance in zip(places, together, chance, strict=True):
            if by_chance > 0:
                drawn.axes.text(
                    place - 0.2, 100 * one, f"{one / by_chance:.1f} x", ha="center", va="bottom", fontsize=7.5
                )
        drawn.axes.set_xticks(places, names)
        drawn.axes.set_ylim(top=110 * max(*together, *chance))
        drawn.axes.legend()
    return Figure(
        title,
        drawn.svg,
        "How much oftener than by chance a user's next item shares the codes of the item before. The more often, the "
        "easier it is to generate the next item's codes.",
        "About 1 x: the semantic IDs have nothing to do with what users choose.",
    )


def _alike(names: list[str], similarity: list[float]) -> Figure:
    title = "Likeness of items with equal codes"
    with plot(title, "equal codes", "mean cosine of their features") as drawn:
        drawn.axes.bar(np.arange(len(names)), similarity, 0.5, color=SERIES[2])
        drawn.axes.axhline(0, color=MUTED, linewidth=0.8)
        drawn.axes.set_xticks(np.arange(len(names)), names)
    return Figure(
        title,
        drawn.svg,
        "The mean cosine of the features of two items that share the codes; with each further code it should rise.",
        "A first code near 0: its items have nothing in common. Bars that do not rise: later codes add nothing.",
    )
