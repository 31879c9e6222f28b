"""The section about the lists: whether their probabilities are true, and how much of the catalogue they show.

Shapes: R entries of lists, N items.
"""

import numpy as np
from numpy.typing import NDArray

from rqrec.training.evaluation.details import EvaluationDetails
from rqrec.training.evaluation.report import RQREC, SHOWN
from rqrec.training.report.material import Material
from rqrec.training.report.plots import MUTED, SERIES, draw_lines, plot, use_log_scale
from rqrec.training.report.section import Figure, Section
from rqrec.training.report.sections.accuracy import missing, shown
from rqrec.training.report.tables import Cell, table

BINS, FEWEST_ENTRIES = 10, 50
POINTS = 200  # of a curve


def lists(material: Material) -> Section:
    """Returns the section about probabilities and coverage."""
    introduction = (
        "Whether the probabilities of the lists can be believed, and how much of the catalogue users get to see."
    )
    if material.details is None:
        return Section("Probabilities and coverage", introduction, notes=[missing(material)])
    figures = [_concentration(material.details), _coverage(material)]
    if len(material.details.log_probs_R):
        figures.insert(0, _calibration(material.details))
    return Section("Probabilities and coverage", introduction, figures)


def _calibration(details: EvaluationDetails) -> Figure:
    probability_R, is_hit_R = np.exp(details.log_probs_R.astype(np.float64)), details.is_hit_R
    bins = max(min(BINS, len(probability_R) // FEWEST_ENTRIES), 1)
    parts = np.array_split(np.argsort(probability_R, kind="stable"), bins)
    said = np.array([probability_R[part].mean() for part in parts if len(part)])
    found = np.array([is_hit_R[part].mean() for part in parts if len(part)])
    error = 1.96 * np.sqrt(found * (1 - found) / np.array([len(part) for part in parts if len(part)]))
    title = "Are the probabilities true?"
    with plot(title, "probability that the model gives (%)", "entries that were the next item (%)") as drawn:
        ends = 100 * np.array([min(said.min(), found[found > 0].min(initial=1)), max(said.max(), found.max())])
        drawn.axes.plot(ends, ends, ":", color=MUTED, label="if all were true")
        seen = found > 0
        bars = 100 * np.stack([np.minimum(error, 0.9 * found), error])[:, seen]
        drawn.axes.errorbar(
            100 * said[seen], 100 * found[seen], bars, color=SERIES[0], marker="o", label="entries of the lists"
        )
        use_log_scale(drawn.axes, x=True, y=True)
        drawn.axes.legend()
    total = f"The lists promise {probability_R.sum() / max(is_hit_R.sum(), 1):.2f} times the hits that came."
    return Figure(
        title,
        drawn.svg,
        f"{len(probability_R):,} entries in {len(said)} groups by probability. On the dotted line, what the model says "
        f"comes true; above it, the model is too careful. {total}",
        "Points far below the line: the model is too sure. A flat line: its probabilities mean nothing.",
    )


def _concentration(details: EvaluationDetails) -> Figure:
    title = "How recommendations spread over the catalogue"
    lines = []
    for name, shown_N in details.shown.items():
        sorted_N = np.sort(shown_N)[::-1]
        places = np.unique(np.geomspace(1, len(sorted_N), POINTS).astype(np.int64))
        total = max(int(sorted_N.sum()), 1)
        lines.append((shown(name), 100 * places / len(sorted_N), 100 * np.cumsum(sorted_N)[places - 1] / total))
    with plot(title, "items, most shown first (% of the catalogue)", "recommendations (%)") as drawn:
        draw_lines(drawn.axes, lines)
        use_log_scale(drawn.axes, x=True)
        drawn.axes.set_ylim(0, 102)
    return Figure(
        title,
        drawn.svg,
        "How many of all recommendations go to the items that are shown most. A lower line spreads them over more of "
        "the catalogue.",
        f"{SHOWN[RQREC]} on the line of popularity: everybody gets the same few items.",
    )


def _coverage(material: Material) -> Figure:
    assert material.details is not None
    rows = []
    for name, shown_N in material.details.shown.items():
        metrics = material.results.get(name, {})
        diversity = next((value for key, value in metrics.items() if key.startswith("diversity@")), None)
        rows.append(
            [
                Cell(shown(name), is_number=False),
                Cell(f"{(shown_N > 0).mean():.1%}", note=f"{(shown_N > 0).sum():,} items"),
                Cell(f"{_gini(shown_N):.3f}"),
                Cell("–" if diversity is None else f"{diversity:.3f}"),
            ]
        )
    return Figure(
        "Share of the catalogue shown",
        table(["model", "items in at least one list", "Gini", "diversity of a list"], rows),
        "Lists of the test users. Gini: 0 if all items are shown equally often, 1 if one item takes all. Diversity: 1 "
        "minus the mean cosine of the features within a list.",
        "A few percent of the catalogue with thousands of users: the rest might as well not be there.",
    )


def _gini(counts_N: NDArray[np.int64]) -> float:
    """Returns the Gini coefficient of counts: 0 for even ones, near 1 if one item has all.

    >>> _gini(np.array([3, 3])), _gini(np.array([0, 6]))
    (0.0, 0.5)
    """
    total = int(counts_N.sum())
    if not total:
        return 0.0
    return float(1 - 2 * np.cumsum(np.sort(counts_N) / total).mean() + 1 / len(counts_N))
