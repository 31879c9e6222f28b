"""Stage: the trained retriever, beside baselines, on the held-out test items.

The retriever is asked through the recommender, as the service asks it. Every model ranks the whole catalogue,
the items of the history excluded, and a hit is the exact item.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PositiveInt, model_validator
from pydantic.dataclasses import dataclass as settings_dataclass
from rich.table import Table

from rqrec.models.retriever.retriever import CatalogueTensors, Retriever
from rqrec.models.search.new_items import NewItems
from rqrec.models.search.recommender import Recommender
from rqrec.models.search.torch_engine import TorchEngine
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.data.prepare import load_prepared
from rqrec.training.data.splits import Holdout, leave_one_out, user_sequences
from rqrec.training.evaluation.baselines import item_popularity, rank_by_item_knn, rank_by_popularity
from rqrec.training.evaluation.metrics import (
    catalogue_coverage,
    intra_list_diversity,
    mean_reciprocal_rank,
    ndcg_at_k,
    ranks_of_targets,
    recall_at_k,
)
from rqrec.training.evaluation.rank_holdout import rank_holdout
from rqrec.training.features.content import fit_content, with_new_items
from rqrec.training.features.features import Features, load_features
from rqrec.training.runtime.device import training_device
from rqrec.training.runtime.workspace import Stage, Workspace
from rqrec.training.tokenize_items import load_semantic_ids
from rqrec.training.train_decoder import load_retriever

RESULTS = "evaluation.json"
RQREC, ITEM_KNN, POPULARITY = "rqrec", "item-kNN", "popularity"
TOKENIZER = "tokenizer"
CODE_VERSION = 2  # 2: items that nobody chose in training are candidates too


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


def evaluate(
    workspace: Workspace, data: Stage, features: Stage, tokens: Stage, decoder: Stage, settings: EvaluationSettings
) -> Stage:
    """Runs the stage; writes evaluation.json: figures by model, and the tokenizer's."""

    def write(directory: Path) -> None:
        split = leave_one_out(user_sequences(load_prepared(data)))
        loaded = load_features(features)
        features_NE, popularity_N = loaded.features_NE, item_popularity(split.train, len(loaded.features_NE))
        recommender = load_recommender(tokens, decoder, loaded, popularity_N)
        k, beam = settings.list_length, settings.beam_width
        lists = {
            RQREC: rank_holdout(recommender, split.test, k=k, beam_width=beam),
            ITEM_KNN: rank_by_item_knn(split.train, len(features_NE), split.test, k=k),
            POPULARITY: rank_by_popularity(split.train, len(features_NE), split.test, k=k),
        }
        results: dict[str, Mapping[str, float]] = {
            name: figures(lists_UK, split.test, features_NE, popularity_N == 0, settings)
            for name, lists_UK in lists.items()
        }
        results[TOKENIZER] = load_semantic_ids(tokens).figures
        (directory / RESULTS).write_text(json.dumps(results, indent=2), encoding="utf-8")

    inputs = [data, features, tokens, decoder]
    return workspace.run("evaluation", inputs=inputs, settings=settings, write=write, version=CODE_VERSION)


def load_recommender(tokens: Stage, decoder: Stage, features: Features, popularity_N: NDArray[np.int64]) -> Recommender:
    """The trained retriever as the service asks it, over items with these features and counts by item_index."""
    ids = load_semantic_ids(tokens)
    trie = SemanticIdTrie.build(ids.codes_NL, codebook_size=ids.codebook_size)
    retriever = load_retriever(decoder).to(training_device())
    vectors_ND = item_vectors(retriever, trie, features, fit_content(features), popularity_N)
    return make_recommender(retriever, trie, vectors_ND, popularity_N)


def make_recommender(
    retriever: Retriever,
    trie: SemanticIdTrie,
    item_vectors_ND: NDArray[np.float32],
    popularity_N: NDArray[np.int64],
) -> Recommender:
    """A retriever as the service asks it, over items whose vectors and counts are given by item_index."""
    device = next(retriever.parameters()).device
    vectors_ND, popularity_N = item_vectors_ND[trie.row_of_leaf_N], popularity_N[trie.row_of_leaf_N]
    return Recommender(
        TorchEngine(retriever, trie, torch.from_numpy(vectors_ND), device=device),
        trie,
        max_history=retriever.config.max_history,
        popularity_N=popularity_N,
        new_items=NewItems.from_mask(popularity_N == 0, vectors_ND, relevance_weight=retriever.config.relevance_weight),
    )


def item_vectors(
    retriever: Retriever,
    trie: SemanticIdTrie,
    features: Features,
    projection_EP: NDArray[np.float32],
    popularity_N: NDArray[np.int64],
) -> NDArray[np.float32]:
    """What the search reads of each item, by item_index: as trained, or by content where nobody chose it."""
    device = next(retriever.parameters()).device
    trained_ND = retriever.item_vectors(CatalogueTensors.from_trie(trie, features.features_NE, popularity_N, device))
    return with_new_items(trained_ND.cpu().numpy()[trie.leaf_of_row_N], features, projection_EP, popularity_N)


def load_results(stage: Stage) -> dict[str, dict[str, float]]:
    """Reads what `evaluate` wrote: figures by model name, and the tokenizer's."""
    results: dict[str, dict[str, float]] = json.loads((stage.path / RESULTS).read_text(encoding="utf-8"))
    return results


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
