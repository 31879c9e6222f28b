"""The figures of ranked lists, one set a model, and the tables that show them.

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
)

RQREC, ITEM_KNN, POPULARITY = "rqrec", "item-kNN", "popularity"
TOKENIZER = "tokenizer"


@settings_dataclass(frozen=True)
class EvaluationSettings:
    """How models are compared.

    Attributes:
        ks: List lengths at which recall and NDCG are taken.
        list_length: Longest list; the mean reciprocal rank counts a target beyond it as 0.
        profile_k: List length at which coverage and diversity are taken.
        beam_width: Of the retriever's search.
    """

    ks: tuple[PositiveInt, ...] = (5, 10, 20)
    list_length: PositiveInt = 20
    profile_k: PositiveInt = 10
    beam_width: PositiveInt = 50

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
    """All ranking figures of one model; `cold_` ones are over the users whose target never occurs in training."""
    ranks_U = ranks_of_targets(lists_UK, holdout.targets_U)
    cold_U = is_cold_N[holdout.targets_U]
    shown_UK = lists_UK[:, : settings.profile_k]
    found = {f"recall@{k}": recall_at_k(ranks_U, k=k) for k in settings.ks}
    found |= {f"ndcg@{k}": ndcg_at_k(ranks_U, k=k) for k in settings.ks}
    found[f"mrr@{settings.list_length}"] = mean_reciprocal_rank(ranks_U)
    found[f"coverage@{settings.profile_k}"] = catalogue_coverage(shown_UK, len(features_NE))
    found[f"diversity@{settings.profile_k}"] = intra_list_diversity(shown_UK, features_NE)
    found["users"], found["cold_users"] = float(len(ranks_U)), float(cold_U.sum())
    if cold_U.any():
        found[f"cold_recall@{settings.profile_k}"] = recall_at_k(ranks_U[cold_U], k=settings.profile_k)
    return found


def results_table(results: Mapping[str, Mapping[str, float]]) -> list[Table]:
    """The results as tables for the terminal: models, then the tokenizer's levels."""
    models = {name: row for name, row in results.items() if name != TOKENIZER}
    ranking = Table(title="Leave-one-out test, full ranking, history excluded")
    ranking.add_column("metric")
    for name in models:
        ranking.add_column(name, justify="right")
    for metric in dict.fromkeys(metric for row in models.values() for metric in row):
        ranking.add_row(metric, *(_number(row.get(metric)) for row in models.values()))
    tokenizer = Table(title="Semantic IDs")
    tokenizer.add_column("figure")
    tokenizer.add_column("value", justify="right")
    for name, value in results[TOKENIZER].items():
        tokenizer.add_row(name, _number(value))
    return [ranking, tokenizer]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value == int(value) and value > 1 else f"{value:.4f}"
