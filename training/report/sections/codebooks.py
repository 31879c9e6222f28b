"""The section about the codebooks: how evenly codes are used, and what each level leaves of the latent vectors."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rqrec.training.report.material import Material
from rqrec.training.report.plots import MUTED, draw_lines, plot, use_log_scale
from rqrec.training.report.section import Figure, Section
from rqrec.training.report.tables import Cell, table
from rqrec.training.runtime.curves import Curve

STEPS = "optimiser steps"


@dataclass(frozen=True)
class _OverTime:
    """A figure of something that was measured of every level during the training.

    Attributes:
        measure: Its name in the curves.
        title: The title of the figure.
        y: The vertical axis, with its unit.
        reading: How to read it.
        bad: What would be bad.
        scale: What the values are multiplied by.
    """

    measure: str
    title: str
    y: str
    reading: str
    bad: str
    scale: int = 100


OVER_TIME = (
    _OverTime(
        "perplexity",
        "Perplexity of the codes over time",
        "perplexity (codes in even use)",
        "As many equally frequent codes would be as hard to guess. On a sample of at most 2,048 items, so it is a "
        "little too low for large codebooks.",
        "A level that falls towards 1: its codes collapse into one, and the level says nothing.",
        scale=1,
    ),
    _OverTime(
        "unused",
        "Dead codes over time",
        "codes that no sampled item has (%)",
        "Dead codes are moved to badly served items now and then in the first three quarters, so the lines should fall "
        "in steps. In a small catalogue some stay unused.",
        "A line that stays high, above 50 %: the codebook is too large for the catalogue, or has collapsed.",
    ),
    _OverTime(
        "residual",
        "What quantisation leaves, over time",
        "residual (% of the latent's size)",
        "The root mean square of what is left of the latent vectors after each level. The lines should be well apart. "
        "They start at k-means, so they may rise a little while the encoder changes.",
        "Two lines on each other: the later level adds nothing. Lines near 100 %: nothing is quantised.",
    ),
)


def codebooks(material: Material) -> Section:
    """Returns the section about the codebooks of the RQ-VAE."""
    recorded = material.curves.get("rqvae", {})
    over_time = [*(_drawn(one, recorded) for one in OVER_TIME), _norms(recorded, material.rqvae.config.num_levels)]
    figures = [_use(material), _final(material), *(figure for figure in over_time if figure is not None)]
    return Section(
        "Codebooks",
        f"{material.rqvae.config.num_levels} levels of {material.ids.codebook_size} codes each. A level quantises "
        "what the levels before it leave. One more level, the collision code, tells items with equal codes apart.",
        figures,
        ["The codes over time were not recorded: an older release trained the RQ-VAE."]
        if "rqvae" in material.curves and "measured/loss" not in recorded
        else [],
    )


def _use(material: Material) -> Figure:
    size, codes_NL = material.ids.codebook_size, material.ids.codes_NL[:, :-1]
    title = "How often each code is used"
    with plot(title, "codes, most frequent first", "items (1 + number, logarithmic)") as drawn:
        lines = [
            (f"level {level + 1}", np.arange(1, size + 1), 1 + np.sort(np.bincount(codes_N, minlength=size))[::-1])
            for level, codes_N in enumerate(codes_NL.T)
        ]
        draw_lines(drawn.axes, lines)
        drawn.axes.axhline(1 + len(codes_NL) / size, color=MUTED, linestyle=":")
        use_log_scale(drawn.axes, y=True)
    return Figure(
        title,
        drawn.svg,
        "All items, with the final codes. The dotted line is even use. A first level near it divides the catalogue "
        "well; later levels are steeper, because few items are left to tell apart.",
        "A first level that falls at once: a few codes hold most of the catalogue.",
    )


def _final(material: Material) -> Figure:
    figures = material.ids.figures
    rows = [
        [
            Cell(f"{level + 1}"),
            Cell(f"{figures[f'usage_{level}']:.0%}"),
            Cell(f"{figures[f'perplexity_{level}']:.1f}"),
            Cell(f"{figures[f'dead_codes_{level}']:.0f}"),
            Cell(f"{figures[f'gini_{level}']:.2f}"),
        ]
        for level in range(material.rqvae.config.num_levels)
        if f"usage_{level}" in figures
    ]
    return Figure(
        "The codes of all items",
        table(["level", "codes in use", "perplexity", "dead codes", "Gini"], rows),
        f"{figures.get('collision_ratio', 0):.1%} of the items have the same codes as another item, before the "
        "collision code. A Gini coefficient of 0 is even use, near 1 is one code for all.",
        "More than half of the items with the same codes as another: raise the codebook size or the number of levels.",
    )


def _drawn(over_time: _OverTime, recorded: Mapping[str, Curve]) -> Figure | None:
    """Draws a figure; None if its values were not recorded."""
    names = [name for name in recorded if name.startswith(f"measured/{over_time.measure}_")]
    if not names:
        return None
    lines = [
        (f"level {level + 1}", recorded[name].steps_S, over_time.scale * recorded[name].values_S)
        for level, name in enumerate(sorted(names, key=lambda name: int(name.rpartition("_")[2])))
    ]
    with plot(over_time.title, STEPS, over_time.y) as drawn:
        draw_lines(drawn.axes, lines)
        drawn.axes.set_ylim(bottom=0)
    return Figure(over_time.title, drawn.svg, over_time.reading, over_time.bad)


def _norms(recorded: Mapping[str, Curve], num_levels: int) -> Figure | None:
    norms = [recorded.get(f"train/embs_norm_{level}") for level in range(num_levels)]
    lines = [
        (f"level {level + 1}", norm.steps_S, norm.values_S) for level, norm in enumerate(norms) if norm is not None
    ]
    if not lines:
        return None
    title = "Size of the quantised vectors"
    with plot(title, STEPS, "mean Euclidean norm") as drawn:
        draw_lines(drawn.axes, lines)
        drawn.axes.set_ylim(bottom=0)
    return Figure(
        title,
        drawn.svg,
        "How much each level adds to the latent vector, in training batches. The first level should add the most, and "
        "each later one less.",
        "A level at 0: it does nothing. Sizes that grow without end: lower the learning rate.",
    )
