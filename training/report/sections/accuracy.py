"""The section about accuracy: the metrics of all models with intervals, and for which items and users they hold.

Shapes: U users.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rqrec.training.evaluation.details import EvaluationDetails
from rqrec.training.evaluation.intervals import Mean, mean_of
from rqrec.training.evaluation.metrics import gains, hits
from rqrec.training.evaluation.report import RQREC, RQREC_TIMED, SHOWN
from rqrec.training.report.material import Material
from rqrec.training.report.plots import MARKERS, SERIES, plot
from rqrec.training.report.section import Figure, Section
from rqrec.training.report.tables import Cell, table

K = 10
MOST_GROUPS = 5
MOST_COMPARED = 3  # models in the figures by group
NOT_EVALUATED = "No user is held out, so nothing was measured."
RETRAINED = (
    "A retraining compares the model with the one before, on the latest interactions. The report of the last full "
    "training has the baselines."
)
NOT_RECORDED = (
    "This model was evaluated by an older release, which kept the means only. Remove the folder `evaluation` of the "
    "workspace and train again: only the evaluation and what follows it run."
)


def accuracy(material: Material) -> Section:
    """Returns the section about accuracy."""
    introduction = (
        f"Each test user's true next item is held out, and each model lists the items it expects. Recall@{K} is the "
        f"share of users whose item is among the first {K}; NDCG@{K} also counts how far up it stands. 95 % intervals "
        "over users (bootstrap)."
    )
    details = material.details
    if details is None:
        return Section("Accuracy", introduction, _means(material), [missing(material)])
    ndcg = {name: mean_of(gains(ranks_U, k=K)) for name, ranks_U in details.ranks.items()}
    recall = {name: mean_of(hits(ranks_U, k=K)) for name, ranks_U in details.ranks.items()}
    figures = [
        _table(material, details, ndcg, recall),
        _dots(f"NDCG@{K} of all models", ndcg),
        _dots(f"Recall@{K} of all models", recall),
        *_by_group(details, ndcg),
    ]
    return Section("Accuracy", introduction, figures)


def missing(material: Material) -> str:
    """Returns why there is nothing to show about single users.

    Args:
        material: The results of a run without details of its evaluation.
    """
    if RQREC not in material.results:
        return NOT_EVALUATED
    return RETRAINED if material.changes else NOT_RECORDED


def shown(name: str) -> str:
    """Returns the name of a model as the report shows it."""
    return SHOWN.get(name, name)


def _means(material: Material) -> list[Figure]:
    """The metrics of the models without intervals; nothing if no model was evaluated."""
    columns = [f"ndcg@{K}", f"recall@{K}"]
    models = {name: row for name, row in material.results.items() if all(column in row for column in columns)}
    if not models:
        return []
    rows = [
        [Cell(shown(name), is_number=False), *(Cell(f"{row[column]:.4f}") for column in columns)]
        for name, row in models.items()
    ]
    return [
        Figure(
            "All models",
            table(["model", f"NDCG@{K}", f"recall@{K}"], rows),
            "The means over the test users.",
            f"A row with higher numbers than {SHOWN[RQREC]}'s.",
        )
    ]


def _table(
    material: Material, details: EvaluationDetails, ndcg: Mapping[str, Mean], recall: Mapping[str, Mean]
) -> Figure:
    own_U = gains(details.ranks[RQREC], k=K)
    rows = []
    for name, ranks_U in details.ranks.items():
        behind = mean_of(own_U - gains(ranks_U, k=K))
        rows.append(
            [
                Cell(shown(name), is_number=False),
                _with_interval(ndcg[name]),
                _with_interval(recall[name]),
                Cell("–")
                if name == RQREC
                else Cell(f"{behind.value:+.4f}", f"{behind.low:+.4f} to {behind.high:+.4f}"),
                Cell(f"{material.results[name].get(f'mrr@{_list_length(material)}', float('nan')):.4f}"),
            ]
        )
    heads = [
        "model",
        f"NDCG@{K}",
        f"recall@{K}",
        f"{SHOWN[RQREC]} minus model, NDCG@{K}",
        f"MRR@{_list_length(material)}",
    ]
    return Figure(
        f"All models on {len(own_U):,} test users",
        table(heads, rows),
        f"The baselines need no training. The fourth column compares the lists of the same users: an interval above 0 "
        f"says that {SHOWN[RQREC]} is better than this model.",
        "An interval of the fourth column that holds 0 or lies below it: a simpler model does as well.",
        is_wide=True,
    )


def _list_length(material: Material) -> int:
    return next((int(name.removeprefix("mrr@")) for name in material.results[RQREC] if name.startswith("mrr@")), K)


def _with_interval(mean: Mean) -> Cell:
    return Cell(f"{mean.value:.4f}", note=f"{mean.low:.4f} to {mean.high:.4f}")


def _dots(title: str, means: Mapping[str, Mean]) -> Figure:
    names = list(means)[::-1]
    with plot(title, f"{title.split(maxsplit=1)[0]} (0 to 1)", "", height=0.9 + 0.32 * len(names)) as drawn:
        for place, name in enumerate(names):
            mean, colour = means[name], SERIES[0] if name in (RQREC, RQREC_TIMED) else SERIES[1]
            drawn.axes.plot([mean.low, mean.high], [place, place], color=colour)
            drawn.axes.plot([mean.value], [place], MARKERS[0], color=colour)
        drawn.axes.set_yticks(range(len(names)), [shown(name) for name in names])
        drawn.axes.set_ylim(-0.6, len(names) - 0.4)
        drawn.axes.set_xlim(left=0)
        drawn.axes.grid(visible=False, axis="y")
    return Figure(
        title,
        drawn.svg,
        "The point is the mean over users, the line its 95 % interval. Further right is better.",
        f"{SHOWN[RQREC]} left of a baseline, or lines that overlap widely: with more users one would know more.",
    )


def _by_group(details: EvaluationDetails, ndcg: Mapping[str, Mean]) -> list[Figure]:
    """The figures by popularity of the target and by length of the history, for the best models."""
    baselines = sorted((name for name in ndcg if name not in (RQREC, RQREC_TIMED)), key=lambda name: -ndcg[name].value)
    names = [RQREC, *baselines][:MOST_COMPARED]
    return [
        _groups(
            f"NDCG@{K} by popularity of the target",
            "training interactions of the target",
            details.target_popularity_U,
            details,
            names,
            "Popular items are easy to find for every model; the left groups show what a model knows beyond "
            "popularity.",
            f"{SHOWN[RQREC]} near 0 on the left: it recommends popular items only.",
        ),
        _groups(
            f"NDCG@{K} by length of the history",
            "items in the history",
            details.history_length_U,
            details,
            names,
            "Users with a short history are new ones. Long histories are often harder: these users have seen the "
            "popular items.",
            "A line that falls to the baselines' in a group with many users.",
        ),
    ]


def _groups(
    title: str,
    x: str,
    value_U: NDArray[np.int64],
    details: EvaluationDetails,
    names: list[str],
    reading: str,
    bad: str,
) -> Figure:
    groups = _quantile_groups(value_U)
    with plot(title, x, f"NDCG@{K} (0 to 1)") as drawn:
        for number, name in enumerate(names):
            means = [mean_of(gains(details.ranks[name][is_in_U], k=K)) for _, is_in_U in groups]
            places = np.arange(len(groups)) + 0.08 * (number - (len(names) - 1) / 2)
            values = np.array([mean.value for mean in means])
            bars = np.array([[mean.value - mean.low, mean.high - mean.value] for mean in means]).T
            drawn.axes.errorbar(
                places, values, bars, color=SERIES[number], marker=MARKERS[number], linewidth=1.1, label=shown(name)
            )
        ticks = [f"{label}\n{int(is_in_U.sum()):,} users" for label, is_in_U in groups]
        drawn.axes.set_xticks(np.arange(len(groups)), ticks, fontsize=7)
        drawn.axes.set_ylim(0, 1.25 * drawn.axes.get_ylim()[1])  # room for the legend
        drawn.axes.legend(ncols=len(names), loc="upper center", columnspacing=1, handletextpad=0.4)
    return Figure(title, drawn.svg, reading, bad)


def _quantile_groups(value_U: NDArray[np.int64]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Divides users into at most five groups of about the same size by a whole number, with the range of each."""
    inner = np.quantile(value_U, np.linspace(0, 1, MOST_GROUPS + 1)[1:-1], method="lower") + 1
    edges = [*np.unique(inner[inner <= value_U.max()]).astype(np.int64).tolist(), int(value_U.max()) + 1]
    groups, low = [], int(value_U.min())
    for high in edges:
        is_in_U = (value_U >= low) & (value_U < high)
        if is_in_U.any():
            groups.append((f"{low:,}" if high == low + 1 else f"{low:,}–{high - 1:,}", is_in_U))
        low = high
    return groups
