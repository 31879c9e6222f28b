"""The section about learning: losses, validation scores and learning rates of all trainings."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rqrec.training.report.material import Material
from rqrec.training.report.plots import MUTED, draw_lines, plot, use_log_scale
from rqrec.training.report.section import Figure, Section
from rqrec.training.runtime.curves import Curve
from rqrec.training.train_rqvae import REPLACED

RATE, LOSS, SCORE, MEASURED = "train/learning_rate", "train/loss", "validation/score", "measured/loss"
STEPS = "optimiser steps"
NAMES = {
    "rqvae": "RQ-VAE",
    "short_term": "short-term encoder",
    "decoder": "retriever",
    "short_term_refit": "short-term encoder, refit",
    "decoder_refit": "retriever, refit",
    "retrain_decoder": "retriever, retrained",
    "retrain_decoder_refit": "retriever, on all interactions",
}


def learning(material: Material) -> Section:
    """Returns the section about how the networks learnt."""
    curves = {name: one for name, one in material.curves.items() if one}
    figures = [
        *_of_rqvae(curves.get("rqvae", {})),
        *(
            figure
            for name, one in curves.items()
            if name != "rqvae"
            for figure in _of_sequences(NAMES.get(name, name), one)
        ),
    ]
    if curves:
        figures.append(_rates(curves))
    missing = [NAMES.get(name, name) for name, one in material.curves.items() if not one]
    notes = [f"No curves were recorded for: {', '.join(missing)}. An older release trained these stages."]
    return Section(
        "Learning",
        "Each network is trained by itself: first the RQ-VAE, which makes the semantic IDs, then the short-term "
        "encoder, then the retriever. A refit continues a training on all interactions, the held-out ones included.",
        figures,
        notes if missing else [],
    )


def _of_rqvae(curves: Mapping[str, Curve]) -> list[Figure]:
    if not curves:
        return []
    shown = {"in training, with noise": LOSS, "without noise, on a sample": MEASURED}
    title = "RQ-VAE: loss"
    with plot(title, STEPS, "loss (weighted sum)") as drawn:
        draw_lines(drawn.axes, _lines(curves, shown))
        for step in steps_of_replacements(curves):
            drawn.axes.axvline(step, color=MUTED, linestyle=":", linewidth=0.6)
    return [
        Figure(
            title,
            drawn.svg,
            "The loss should fall and then lie flat; the line without noise is what the semantic IDs get. It starts at "
            "residual k-means, and all items are trained on, so there is no validation. At a dotted line, dead codes "
            "were replaced. The decoder does not know the new codes yet, so the loss may jump there.",
            "A line that rises between the dotted lines: lower RqVaeSettings.learning_rate. One that ends above its "
            "start after a jump: see what stands out. One that still falls at the end: raise RqVaeSettings.steps.",
        )
    ]


def steps_of_replacements(curves: Mapping[str, Curve]) -> list[int]:
    """Returns the steps at which dead codes of the RQ-VAE were replaced; none if an older release trained it.

    Args:
        curves: The curves of the RQ-VAE's training, by name.
    """
    curve = curves.get(f"measured/{REPLACED}")
    return [] if curve is None else curve.steps_S[curve.values_S > 0].tolist()


def _of_sequences(name: str, curves: Mapping[str, Curve]) -> list[Figure]:
    """The figures of a network that learns from sequences."""
    parts = {"generation": "train/generation", "relevance": "train/relevance"}
    levels = {f"code {level + 1}": f"train/level_{level}" for level in range(16) if f"train/level_{level}" in curves}
    figures = [_loss(name, curves, parts if levels else {"cross-entropy": LOSS})]
    if SCORE in curves:  # a refit has none, and its losses of the codes hardly move
        figures += [_levels(name, curves, levels)] if levels else []
        figures.append(_validation(name, curves))
    return figures


def _loss(name: str, curves: Mapping[str, Curve], shown: Mapping[str, str]) -> Figure:
    return _cross_entropy(
        f"{name}: training loss",
        curves,
        shown,
        "Cross-entropy of the next item, in nats, as a moving mean: e to the power of this number is the number of "
        "equally likely items among which the network still hesitates.",
        "It does not fall, or jumps up and stays there: lower the learning rate. A refit starts low and falls little.",
    )


def _levels(name: str, curves: Mapping[str, Curve], levels: Mapping[str, str]) -> Figure:
    return _cross_entropy(
        f"{name}: loss of each code",
        curves,
        levels,
        "The codes of an item are generated one after the other. The first one is the hardest, and each further one "
        "has fewer codes to choose from.",
        "A later code with a loss near that of the first: the first code says nothing about the item.",
    )


def _cross_entropy(name: str, curves: Mapping[str, Curve], shown: Mapping[str, str], reading: str, bad: str) -> Figure:
    title = f"{name[0].upper()}{name[1:]}"
    with plot(title, STEPS, "cross-entropy (nats)") as drawn:
        draw_lines(drawn.axes, _lines(curves, shown, is_smoothed=True))
    return Figure(title, drawn.svg, reading, bad)


def _validation(name: str, curves: Mapping[str, Curve]) -> Figure:
    curve = curves[SCORE]
    best = int(curve.values_S.argmax())
    title = f"{name[0].upper()}{name[1:]}: validation"
    with plot(title, STEPS, "NDCG@10 (0 to 1)") as drawn:
        draw_lines(drawn.axes, [("NDCG@10", curve.steps_S, curve.values_S)], are_sparse=True)
        drawn.axes.axvline(float(curve.steps_S[best]), color=MUTED, linestyle=":")
    return Figure(
        title,
        drawn.svg,
        f"How well held-out next items are found; the weights of the best point are kept (dotted line, "
        f"{curve.values_S[best]:.4f} at step {curve.steps_S[best]:,}).",
        "The best point is the first one: the network overfits at once, so lower the learning rate. It is the last "
        "one: the training was too short, so raise the epochs.",
    )


def _rates(curves: Mapping[str, Mapping[str, Curve]]) -> Figure:
    title = "Learning rates"
    lines = []
    for name, one in curves.items():
        if rate := one.get(RATE):
            lines.append((NAMES.get(name, name), 100 * rate.steps_S / rate.steps_S[-1], rate.values_S))
    with plot(title, "share of the training (%)", "learning rate") as drawn:
        draw_lines(drawn.axes, lines)
        use_log_scale(drawn.axes, y=True)
    return Figure(
        title,
        drawn.svg,
        "The rate rises for a moment and then falls along a cosine; a training that validation ended early stops "
        "before it is near 0.",
        "A jump in the middle: the training was resumed with other settings.",
    )


def _lines(
    curves: Mapping[str, Curve], shown: Mapping[str, str], *, is_smoothed: bool = False
) -> Sequence[tuple[str, NDArray[np.number], NDArray[np.number]]]:
    found = [(name, curves[key]) for name, key in shown.items() if key in curves]
    return [(name, one.steps_S, moving_mean(one.values_S) if is_smoothed else one.values_S) for name, one in found]


def moving_mean(values_S: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns at each place the mean of the values up to there that are at most a twentieth of all values away.

    >>> moving_mean(np.array([4.0, 2.0, 0.0])).tolist()
    [4.0, 2.0, 0.0]
    """
    width = max(len(values_S) // 20, 1)
    sums = np.cumsum(np.insert(values_S, 0, 0.0))
    ends = np.arange(1, len(values_S) + 1)
    begins = np.maximum(ends - width, 0)
    means_S: NDArray[np.float64] = (sums[ends] - sums[begins]) / (ends - begins)
    return means_S
