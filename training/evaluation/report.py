"""Figures of ranked lists, and tables that show the figures of several models.

Shapes: U users, K list length, N items, E feature columns.
"""

from collections.abc import Mapping
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt, model_validator
from pydantic.dataclasses import dataclass as settings_dataclass
from rich.table import Table

from rqrec.training.data.splits import Holdout
from rqrec.training.evaluation.metrics import (
    catalogue_coverage,
    intra_list_diversity,
    mean_reciprocal_rank,
    ndcg_at_k,
    ranks_of_targets,
    recall_at_k,
    set_ndcg_at_k,
    set_recall_at_k,
)

RQREC, ITEM_KNN, POPULARITY, RECENT = "rqrec", "item-kNN", "popularity", "recent popularity"
OWN_FREQUENT, OWN_RECENT = "own most frequent", "own most recent"
TOKENIZER, DATA = "tokenizer", "data"
SHOWN = {RQREC: "RQRec"}  # names of models in tables; others are shown as they are


@settings_dataclass(frozen=True)
class EvaluationSettings:
    """List lengths and beam width of an evaluation.

    Attributes:
        ks: List lengths of recall and NDCG.
        list_length: Length of the ranked lists. The mean reciprocal rank counts a target outside the list as 0.
        profile_k: List length of coverage, diversity and the recall of cold users.
        beam_width: Beam width of the retriever's search.
        recent_days: "recent popularity" counts the training interactions of this many last days of the training data.
    """

    ks: tuple[PositiveInt, ...] = (5, 10, 20)
    list_length: PositiveInt = 20
    profile_k: PositiveInt = 10
    beam_width: PositiveInt = 50
    recent_days: PositiveInt = 30

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if max(*self.ks, self.profile_k) > self.list_length:
            raise ValueError(f"ks and profile_k must be <= list_length, got {self.ks} and {self.profile_k}")
        return self


def figures(
    lists_UK: NDArray[np.int64],
    holdout: Holdout,
    features_NE: NDArray[np.float32],
    is_cold_N: NDArray[np.bool_],
    settings: EvaluationSettings,
) -> dict[str, float]:
    """Computes all ranking figures of one model.

    Args:
        lists_UK: item_index by user, best first, -1 where the list is shorter.
        holdout: The users, with the item that each list should contain.
        features_NE: Item features by item_index; diversity is measured on them.
        is_cold_N: Whether the item has no training interaction, by item_index.
        settings: The list lengths.

    Returns:
        Figures by name. Those that start with `cold_` are of the users whose target item is cold. Those that start
        with `period_` ask for all items of a user's period.
    """
    ranks_U = ranks_of_targets(lists_UK, holdout.targets_U)
    cold_U = is_cold_N[holdout.targets_U]
    shown_UK = lists_UK[:, : settings.profile_k]
    found = {f"recall@{k}": recall_at_k(ranks_U, k=k) for k in settings.ks}
    found |= {f"ndcg@{k}": ndcg_at_k(ranks_U, k=k) for k in settings.ks}
    if holdout.period is not None:
        found |= {f"period_recall@{k}": set_recall_at_k(lists_UK, holdout.period, k=k) for k in settings.ks}
        found |= {f"period_ndcg@{k}": set_ndcg_at_k(lists_UK, holdout.period, k=k) for k in settings.ks}
    found[f"mrr@{settings.list_length}"] = mean_reciprocal_rank(ranks_U)
    found[f"coverage@{settings.profile_k}"] = catalogue_coverage(shown_UK, len(features_NE))
    found[f"diversity@{settings.profile_k}"] = intra_list_diversity(shown_UK, features_NE)
    found["users"], found["cold_users"] = float(len(ranks_U)), float(cold_U.sum())
    if cold_U.any():
        found[f"cold_recall@{settings.profile_k}"] = recall_at_k(ranks_U[cold_U], k=settings.profile_k)
    return found


def results_table(results: Mapping[str, Mapping[str, float]]) -> list[Table]:
    """Returns one table of all models, if they were evaluated, and one table of the semantic IDs.

    Args:
        results: Figures by model name, under "data" those of the data, and under "tokenizer" those of the semantic IDs.
    """
    models = {name: row for name, row in results.items() if name not in (TOKENIZER, DATA)}
    ranking = Table(title=_title(results.get(DATA, {})))
    ranking.add_column("metric")
    for name in models:
        ranking.add_column(SHOWN.get(name, name), justify="right")
    for metric in dict.fromkeys(metric for row in models.values() for metric in row):
        ranking.add_row(shown_metric(metric), *(_number(row.get(metric)) for row in models.values()))
    tokenizer = Table(title="Semantic IDs")
    tokenizer.add_column("figure")
    tokenizer.add_column("value", justify="right")
    for name, value in results[TOKENIZER].items():
        tokenizer.add_row(name, _number(value))
    return [ranking, tokenizer] if models else [tokenizer]


def lines_of_better_baselines(results: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Returns a warning for each baseline with a recall or NDCG that is higher than RQRec's.

    Args:
        results: Figures by model name, as for `results_table`.
    """
    own = results.get(RQREC, {})
    names = [name for name in own if name.startswith(("recall@", "ndcg@"))]
    lines = []
    for name, row in results.items():
        better = [
            f"{metric} {row[metric]:.4f} and {own[metric]:.4f}" for metric in names if row.get(metric, 0) > own[metric]
        ]
        if name not in (RQREC, TOKENIZER, DATA) and better:
            lines.append(f"WARNING: {name!r} is better than RQRec: {', '.join(better)}")
    return lines


def shown_metric(name: str) -> str:
    """Returns the name of a figure as tables show it: `cold_recall@10` is "cold slice recall@10"."""
    return "users of the cold slice" if name == "cold_users" else name.replace("cold_", "cold slice ")


def _title(data: Mapping[str, float]) -> str:
    split = "Test by time" if data.get("split_by_time") else "Leave-one-out test"
    if data.get("history_excluded", 1.0):
        return f"{split}, full ranking, history excluded"
    return f"{split}, full ranking, history allowed: {data['held_out_repeats']:.0%} of the targets stand in it"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value == int(value) and value > 1 else f"{value:.4f}"
