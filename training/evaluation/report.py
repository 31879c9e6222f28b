"""Computes the metrics of an evaluation, such as recall, and shows those of several models in tables.

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
RQREC_TIMED = "rqrec, times known"
OWN_FREQUENT, OWN_RECENT = "own most frequent", "own most recent"
TOKENIZER, DATA = "tokenizer", "data"
COUNTS, DEAD_CODES = ("users", "cold_users"), "dead_codes_"  # figures that are whole numbers
SHOWN = {RQREC: "RQRec", RQREC_TIMED: "RQRec, times known"}  # names of models in tables; others are shown as they are


@settings_dataclass(frozen=True)
class EvaluationSettings:
    """Settings of the evaluation: list lengths, beam width, and the days that the baseline "recent popularity" counts.

    Attributes:
        ks: List lengths of recall and NDCG.
        list_length: Length of the recommendation lists. The mean reciprocal rank counts 0 for a user whose true next
            item is not in the list.
        profile_k: List length of coverage, of diversity, and of the recall for users whose true next item has no
            training interactions.
        beam_width: Beam width of the retriever's search.
        recent_days: Number of last days of the training data that the baseline "recent popularity" counts.
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
    """Computes all metrics of one model from its recommendation lists.

    Args:
        lists_UK: The list of each user: item_index, best first; -1 stands for no item.
        holdout: The users, with the target of each user, which is the true next item.
        features_NE: Item features by item_index, shape (N, E), for the diversity of the lists.
        is_cold_N: Whether each item is cold, which means without a training interaction; by item_index.
        settings: The list lengths of the metrics.

    Returns:
        Metrics by name, such as "recall@10". Names with `cold_` are about the users whose target is cold. Names
        with `period_` are about all items that a user chose in the test period, and not only the next one.
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
    """Makes two tables of metrics: one that compares all models, and one of the semantic IDs.

    The first table is left out if no model was evaluated.

    Args:
        results: Metrics by model name; also those of the data and the semantic IDs, under "data" and "tokenizer".
            `training.evaluate.load_results` returns them.
    """
    models = {name: row for name, row in results.items() if name not in (TOKENIZER, DATA)}
    ranking = Table(title=_title(results.get(DATA, {})))
    ranking.add_column("metric")
    for name in models:
        ranking.add_column(SHOWN.get(name, name), justify="right")
    for metric in dict.fromkeys(metric for row in models.values() for metric in row):
        ranking.add_row(shown_metric(metric), *(_number(metric, row.get(metric)) for row in models.values()))
    tokenizer = Table(title="Semantic IDs")
    tokenizer.add_column("figure")
    tokenizer.add_column("value", justify="right")
    for name, value in results[TOKENIZER].items():
        tokenizer.add_row(name, _number(name, value))
    return [ranking, tokenizer] if models else [tokenizer]


def shown_metric(name: str) -> str:
    """Returns the name of a metric as tables show it, such as "cold slice recall@10" for "cold_recall@10"."""
    return "users of the cold slice" if name == "cold_users" else name.replace("cold_", "cold slice ")


def _title(data: Mapping[str, float]) -> str:
    split = "Test by time" if data.get("split_by_time") else "Leave-one-out test"
    if data.get("history_excluded", 1.0):
        return f"{split}, full ranking, history excluded"
    return f"{split}, full ranking, history allowed: {data['held_out_repeats']:.0%} of the targets stand in it"


def _number(metric: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if metric in COUNTS or metric.startswith(DEAD_CODES) else f"{value:.4f}"
