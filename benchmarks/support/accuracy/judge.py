"""Trains RQRec and its rivals on one split, ranks the test items with every model, and says how sure the figures are.

Shapes: U users, K list length.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.support.accuracy import bsarec, sasrec
from benchmarks.support.accuracy.bsarec import BsaRec, BsaRecSettings, fit_bsarec
from benchmarks.support.accuracy.networks import load_network, rank_by_network, train_network
from benchmarks.support.accuracy.sasrec import SasRec, SasRecSettings, fit_sasrec
from benchmarks.support.accuracy.transitions import rank_by_transitions
from benchmarks.support.accuracy.user_ranks import describe_users, rank_table
from rqrec.training.data.prepare import load_prepared, load_split, load_user_ids
from rqrec.training.data.splits import Holdout
from rqrec.training.evaluation.baselines import (
    item_popularity,
    rank_by_content_knn,
    rank_by_item_knn,
    rank_by_popularity,
)
from rqrec.training.evaluation.metrics import bootstrap_interval, gains, hits, ranks_of_targets
from rqrec.training.evaluation.rank_holdout import rank_holdout
from rqrec.training.evaluation.report import figures
from rqrec.training.features.features import load_features
from rqrec.training.run import Run
from rqrec.training.serving_recommender import load_recommender
from rqrec.training.tokenize_items import load_semantic_ids

RQREC, SASREC, BSAREC = "RQRec", "SASRec", "BSARec"
RQREC_TIMED = "RQRec-timed"  # the same model, which knows when the user chose the items
INTERVAL_K = 10
SECONDS = "training_seconds"

PerUser = dict[str, NDArray[np.float64]]
Ranker = Callable[[Holdout], NDArray[np.int64]]


@dataclass(frozen=True)
class Rivals:
    """The trained models beside RQRec.

    Attributes:
        sasrec: SASRec's sizes and its training. It is trained with the seed of each run.
        bsarec: BSARec's. It is trained with the seeds of the first runs.
        bsarec_seeds: The number of these runs; 0 to leave it out.
    """

    sasrec: SasRecSettings
    bsarec: BsaRecSettings
    bsarec_seeds: int = 1


@dataclass(frozen=True)
class Comparison:
    """The figures of all models on one split.

    Attributes:
        models: Figures by model, mean over its seeds, with the seconds of one training.
        spreads: The standard deviation of recall and NDCG at 10 over seeds, by model; only of models with several.
        intervals: 95 % bootstrap intervals over users of the mean over seeds, by model and figure. "RQRec - X" is the
            difference on the same users.
        tokenizer: The figures of the semantic IDs of the first seed.
        ranks: The rank of each user's next item with the first seed, by trained model; none in a split by time. See
            `benchmarks.support.accuracy.user_ranks`.
        users: What is known of each user; None in a split by time.
    """

    models: Mapping[str, Mapping[str, float]]
    spreads: Mapping[str, Mapping[str, float]]
    intervals: Mapping[str, Mapping[str, tuple[float, float]]]
    tokenizer: Mapping[str, float]
    ranks: Mapping[str, pl.DataFrame]
    users: pl.DataFrame | None


def judge(runs: Sequence[Run], rivals: Rivals) -> Comparison:
    """Trains the models that are not trained yet, and ranks the test items with every model.

    Args:
        runs: Runs of the recipe that differ in their seed alone, one for each seed.
        rivals: The trained models beside RQRec.
    """
    first = runs[0]
    settings, split = first.settings.evaluation, load_split(first.data)
    features_NE, test = load_features(first.features).features_NE, split.test
    popularity_N, k = item_popularity(split.train, len(features_NE)), settings.list_length
    lists: dict[str, list[NDArray[np.int64]]] = {
        "popularity": [rank_by_popularity(popularity_N, test, k=k)],
        "item-kNN": [rank_by_item_knn(split.train, len(features_NE), test, k=k)],
        "content-kNN": [rank_by_content_knn(features_NE, test, k=k)],
        "transitions": [rank_by_transitions(split.train, features_NE, test, k=k)],
    }
    seconds: dict[str, float] = {}
    validation: dict[str, NDArray[np.int64]] = {}
    for number, run in enumerate(runs):
        for name, (rank, trained_s) in _trained(run, rivals, with_bsarec=number < rivals.bsarec_seeds).items():
            lists.setdefault(name, []).append(rank(test))
            seconds.setdefault(name, trained_s)
            if name not in validation:
                validation[name] = rank(split.validation)
    models = {
        name: _mean([figures(lists_UK, test, features_NE, popularity_N == 0, settings) for lists_UK in seeds])
        | {SECONDS: seconds.get(name, 0.0)}
        for name, seeds in lists.items()
    }
    ranks = {name: [ranks_of_targets(lists_UK, test.targets_U) for lists_UK in seeds] for name, seeds in lists.items()}
    by_user, users = {}, None
    if first.settings.split.kind == "leave-one-out":
        dataset = replace(load_prepared(first.data), user_ids=load_user_ids(first.data))
        users = describe_users(dataset, Path(first.settings.dataset.source))
        for name, lists_UK in validation.items():
            validation_U = ranks_of_targets(lists_UK, split.validation.targets_U)
            by_user[name] = rank_table(dataset, validation_U, ranks[name][0])
    tokenizer = load_semantic_ids(first.tokens).figures
    return Comparison(models, _spreads(ranks), _intervals(ranks, list(seconds)), tokenizer, by_user, users)


def _trained(run: Run, rivals: Rivals, *, with_bsarec: bool) -> dict[str, tuple[Ranker, float]]:
    """Trains the models of one seed. Returns for each a function that lists items, and the seconds of its training."""
    settings, loaded = run.settings.evaluation, load_features(run.features)
    num_items, k = len(loaded.features_NE), settings.list_length
    seed = run.settings.decoder.seed
    of_sasrec, of_bsarec = replace(rivals.sasrec, seed=seed), replace(rivals.bsarec, seed=seed)
    stage = train_network(run.workspace, run.data, sasrec.NAME, of_sasrec, fit_sasrec)
    network = load_network(stage, SasRec(num_items, of_sasrec))
    by_sasrec = partial(rank_by_network, network.score, k=k, max_history=of_sasrec.max_history)
    trained: dict[str, tuple[Ranker, float]] = {SASREC: (by_sasrec, stage.seconds)}
    if with_bsarec:
        stage = train_network(run.workspace, run.data, bsarec.NAME, of_bsarec, fit_bsarec)
        other = load_network(stage, BsaRec(num_items, of_bsarec))
        by_bsarec = partial(rank_by_network, other, k=k, max_history=of_bsarec.max_history)
        trained[BSAREC] = (by_bsarec, stage.seconds)
    popularity_N = item_popularity(load_split(run.data).train, num_items)
    recommender = load_recommender(run.tokens, run.decoder, loaded, popularity_N)
    stages = [run.features, run.rqvae, run.tokens, *([run.short_term] if run.short_term else []), run.decoder]
    by_rqrec = partial(rank_holdout, recommender, k=k, beam_width=settings.beam_width)
    trained_s = sum(stage.seconds for stage in stages)
    trained[RQREC] = (by_rqrec, trained_s)
    if load_split(run.data).test.times_U is not None:
        trained[RQREC_TIMED] = (partial(by_rqrec, times_known=True), trained_s)
    return trained


def _mean(seeds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([one[name] for one in seeds])) for name in seeds[0]}


def _per_user(seeds: Sequence[NDArray[np.float64]]) -> PerUser:
    """Returns recall and NDCG of each user, mean over seeds."""
    recall, ndcg = (np.mean([score(ranks_U, k=INTERVAL_K) for ranks_U in seeds], axis=0) for score in (hits, gains))
    return {f"recall@{INTERVAL_K}": recall, f"ndcg@{INTERVAL_K}": ndcg}


def _spreads(ranks: Mapping[str, Sequence[NDArray[np.float64]]]) -> dict[str, dict[str, float]]:
    spreads = {}
    for name, seeds in ranks.items():
        if len(seeds) > 1:
            means = [{metric: values_U.mean() for metric, values_U in _per_user([one]).items()} for one in seeds]
            spreads[name] = {metric: float(np.std([one[metric] for one in means], ddof=1)) for metric in means[0]}
    return spreads


def _intervals(
    ranks: Mapping[str, Sequence[NDArray[np.float64]]], trained: Sequence[str]
) -> dict[str, dict[str, tuple[float, float]]]:
    per_user = {name: _per_user(seeds) for name, seeds in ranks.items()}
    for rival in trained:
        if rival != RQREC:
            per_user[f"{RQREC} - {rival}"] = {
                metric: values_U - per_user[rival][metric] for metric, values_U in per_user[RQREC].items()
            }
    return {
        name: {metric: bootstrap_interval(values_U) for metric, values_U in values.items()}
        for name, values in per_user.items()
    }
