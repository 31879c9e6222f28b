"""The section about reconstruction: how much of each feature block the semantic IDs keep."""

from collections.abc import Mapping

import numpy as np
import torch

from rqrec.models.tokenizer.featurizer import PRESENT
from rqrec.training.evaluation.rqvae_quality import explained_by_levels
from rqrec.training.report.material import Material
from rqrec.training.report.plots import draw_lines, plot
from rqrec.training.report.section import Figure, Section
from rqrec.training.runtime.curves import Curve

EXPLAINED = "measured/explained_"
Y = "reconstructed (%)"
MOST_BLOCKS = 8
LOWEST = -20  # percent; what lies below is cut off


def reconstruction(material: Material) -> Section:
    """Returns the section about what the RQ-VAE reconstructs."""
    # The marks of missing values are no content.
    content = [block for block in material.rqvae.config.blocks if not block.name.endswith(PRESENT)]
    weights = sorted(content, key=lambda block: -block.weight)
    blocks = [block.name for block in weights][:MOST_BLOCKS]
    figures = [_by_levels(material, blocks), _over_time(material.curves.get("rqvae", {}), blocks)]
    left_out = len(weights) - len(blocks)
    return Section(
        "Reconstruction",
        "The decoder computes the features again from the codes. 100 % is a perfect copy, 0 % is no better than the "
        "mean of each column. A semantic ID of a few codes is meant to keep what is common to many items, not "
        "everything.",
        [figure for figure in figures if figure is not None],
        [f"{left_out} blocks of the least weight are not shown."] if left_out > 0 else [],
    )


def _by_levels(material: Material, blocks: list[str]) -> Figure:
    explained = explained_by_levels(material.rqvae, torch.from_numpy(material.features_SE))
    title = "Reconstruction by number of levels"
    counts = np.arange(1, len(explained) + 1)
    with plot(title, "levels that the decoder reads", Y) as drawn:
        lines = [
            (name, counts, 100 * np.array([one[name] for one in explained])) for name in blocks if name in explained[0]
        ]
        draw_lines(drawn.axes, lines, are_sparse=True)
        drawn.axes.set_xticks(counts)
        drawn.axes.set_ylim(bottom=max(drawn.axes.get_ylim()[0], LOWEST), top=100)
    return Figure(
        title,
        drawn.svg,
        f"Each line is a block of features; each level should add something to the blocks with much weight. On "
        f"{len(material.sample_S):,} items.",
        "A block with much weight that stays at 0 %: the semantic IDs ignore it. All lines flat after the first level: "
        "later levels are noise.",
    )


def _over_time(recorded: Mapping[str, Curve], blocks: list[str]) -> Figure | None:
    lines = [
        (name, recorded[EXPLAINED + name].steps_S, 100 * recorded[EXPLAINED + name].values_S)
        for name in blocks
        if EXPLAINED + name in recorded
    ]
    if not lines:
        return None
    title = "Reconstruction over time"
    with plot(title, "optimiser steps", Y) as drawn:
        draw_lines(drawn.axes, lines)
        drawn.axes.set_ylim(bottom=max(drawn.axes.get_ylim()[0], LOWEST), top=100)
    return Figure(
        title,
        drawn.svg,
        "The same with all levels during the training, on a sample. The start is residual k-means on principal "
        "components, so the lines begin above 0 and should rise.",
        "A line that falls: another block pushes it out; give it more weight in FeatureSettings.",
    )
