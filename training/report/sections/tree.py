"""The section about the tree of semantic IDs: its largest nodes, and whether items of a node belong together."""

import numpy as np
from numpy.typing import NDArray

from rqrec.models.bundle.meanings import Meaning, Meanings
from rqrec.training.insight.meanings import find_meanings
from rqrec.training.report.material import Material
from rqrec.training.report.plots import MUTED, SERIES, plot
from rqrec.training.report.section import Figure, Section
from rqrec.training.report.tables import Cell, table

NODES, EXAMPLES = 12, 3


def tree(material: Material) -> Section:
    """Returns the section about the tree of semantic IDs."""
    return Section(
        "The tree of semantic IDs",
        "A semantic ID is a path in a tree: the first code chooses a branch, the next one a branch of it. The "
        "retriever walks down this tree, so items of one node should be alike and be chosen by the same people.",
        [_largest(material), *_together(material)],
    )


def _largest(material: Material) -> Figure:
    codes_NL, size = material.ids.codes_NL, material.rqvae.config.codebook_size
    meanings = find_meanings(codes_NL[:, :2], material.items, material.featurizer, codebook_size=size)
    known = Meanings(meanings, codebook_size=size, levels=2)
    codes, counts = np.unique(codes_NL[:, 0], return_counts=True)
    largest = codes[np.argsort(-counts, kind="stable")[:NODES]]
    everything = known.of(np.empty((1, 0), dtype=np.int64))
    nodes = [
        _node(material, "all", np.arange(len(codes_NL)), 0, everything[0]),
        *(
            _node(material, f"{code}", np.flatnonzero(codes_NL[:, 0] == code), 1, meaning)
            for code, meaning in zip(largest.tolist(), known.of(largest[:, None]), strict=True)
        ),
    ]
    return Figure(
        "The largest nodes of the first level",
        table(["code", "items", "labels", "words", "most popular items"], nodes),
        "For the whole catalogue, and for each of the commonest first codes: the commonest labels, with the share of "
        "the items that have them, and the most telling words. The explorer shows the same of every code.",
        "Nodes with the shares of the whole catalogue, or one node with most of it: the first code says little.",
        is_wide=True,
    )


def _node(material: Material, code: str, rows_G: NDArray[np.int64], depth: int, meaning: Meaning) -> list[Cell]:
    """The cells of a node that is so many codes deep and has the items of these rows."""
    popular_G = rows_G[np.argsort(-material.popularity_N[rows_G], kind="stable")[:EXAMPLES]]
    branches = len(np.unique(material.ids.codes_NL[rows_G, depth]))
    labels = ", ".join(f"{one.value} {one.share:.0%}" for one in meaning.attributes)
    return [
        Cell(code),
        Cell(f"{len(rows_G):,}", note=f"{branches} branches"),
        Cell(labels or "–", is_number=False),
        Cell(", ".join(meaning.words) or "–", is_number=False),
        Cell("; ".join(material.names(popular_G)), is_number=False),
    ]


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
