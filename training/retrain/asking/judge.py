"""The judge: compares the retrained model with the one of the bundle, on the latest interactions.

Both are asked by the recommender that serves, what each user chooses next. New items are known to both: to the old
model as the service knows written items, by vectors from their content.

Shapes: Q test cases, N items, M new items.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.search.recommender import Recommender
from rqrec.training.bundling.trained import is_newer, learnt_popularity
from rqrec.training.data.prepare import load_prepared
from rqrec.training.data.splits import Holdout, user_sequences
from rqrec.training.evaluate import RESULTS
from rqrec.training.evaluation.metrics import gains, hits, ranks_of_targets
from rqrec.training.evaluation.rank_holdout import rank_holdout
from rqrec.training.evaluation.report import DATA, RQREC, TOKENIZER
from rqrec.training.features.features import load_features
from rqrec.training.retrain.asking.parent_model import ParentModel
from rqrec.training.retrain.asking.questions import next_item_questions, sampled_interactions
from rqrec.training.retrain.data import as_stage
from rqrec.training.retrain.settings import AllSettings
from rqrec.training.runtime.workspace import Stage, Workspace
from rqrec.training.serving_recommender import load_recommender
from rqrec.training.tokenize_items import load_semantic_ids

NAME, K = "retrain_judge", 10
BEFORE = "before_retraining"  # the group of figures of the bundle's model
DIFFERENCE = "retrained_minus_before"
RESAMPLES = 2000


@dataclass(frozen=True)
class _Judged:
    """All settings on which the verdict depends."""

    beam_width: int
    judged_interactions: int
    seed: int
    until_s: int


@dataclass(frozen=True)
class Verdict:
    """What the judge found.

    Attributes:
        before: NDCG@10 of the bundle's model.
        after: NDCG@10 of the retrained model.
        low: Lower bound of the 95 % interval of the mean difference, after - before, over users.
        high: Upper bound.
        users: Number of users who were asked about.
        interactions: Number of interactions that were asked about.
    """

    before: float
    after: float
    low: float
    high: float
    users: int
    interactions: int

    def is_worse(self, *, judged_users: int) -> bool:
        """Whether the retrained model is worse beyond the interval.

        Args:
            judged_users: With fewer users than this, the judge decides nothing.
        """
        return self.users >= judged_users and self.high < 0

    def __str__(self) -> str:
        return (
            f"NDCG@{K} on the next items of {self.users} users ({self.interactions:,} interactions): "
            f"{self.before:.4f} before, {self.after:.4f} retrained; difference {self.after - self.before:+.4f}, "
            f"95 % interval over users {self.low:+.4f} to {self.high:+.4f}"
        )


def judge(
    workspace: Workspace,
    parent: Bundle,
    data: Stage,
    features: Stage,
    tokens: Stage,
    candidate: Stage,
    settings: AllSettings,
    *,
    until_s: int,
) -> Stage:
    """Runs the stage "retrain_judge": measures both models on the interactions that the candidate has not learnt.

    Args:
        workspace: The folder that stores the results of all stages.
        parent: The bundle from which the retraining goes on.
        data: The result of `read_data`.
        features: The result of `make_features`.
        tokens: The result of `tokenize_new_items`.
        candidate: The retrained model that has learnt the interactions before `until_s`.
        settings: Beam width, and the size of the sample.
        until_s: The time from which interactions are asked about, in seconds since 1970.

    Returns:
        The finished stage. `load_results` reads the figures of both models, `load_verdict` the comparison.
    """
    key = _Judged(settings.evaluation.beam_width, settings.retrain.judged_interactions, settings.retrain.seed, until_s)

    def write(directory: Path) -> None:
        loaded, ids, dataset = load_features(features), load_semantic_ids(tokens), load_prepared(data)
        sequences = user_sequences(dataset)
        assert sequences.times_I is not None
        is_asked_I = is_newer(sequences, parent) & (sequences.times_I >= until_s)
        is_asked_I = sampled_interactions(is_asked_I, key.judged_interactions, seed=key.seed)
        asked, user_Q = next_item_questions(sequences, is_asked_I)
        learnt = sequences.only(sequences.times_I < until_s)
        popularity_N = learnt_popularity(learnt, len(loaded.features_NE), parent)
        models = {
            BEFORE: ParentModel.load(parent, loaded, ids).recommender(),
            RQREC: load_recommender(tokens, candidate, loaded, popularity_N),
        }
        ranks = {
            name: _ranks(one, asked, parent, dataset.disliked_types, key.beam_width) for name, one in models.items()
        }
        results: dict[str, Mapping[str, float]] = {
            name: {f"ndcg@{K}": _mean(gains(one, k=K)), f"recall@{K}": _mean(hits(one, k=K))}
            for name, one in ranks.items()
        }
        low, high = interval_over_users(gains(ranks[RQREC], k=K) - gains(ranks[BEFORE], k=K), user_Q)
        counts = {"users": float(len(np.unique(user_Q))), "interactions": float(len(user_Q))}
        results |= {DIFFERENCE: {"low": low, "high": high, **counts}, TOKENIZER: ids.figures}
        results[DATA] = {"history_excluded": float(parent.manifest.exclude_history)}
        (directory / RESULTS).write_text(json.dumps(results, indent=2), encoding="utf-8")

    inputs = [as_stage(parent), data, features, tokens, candidate]
    return workspace.run(NAME, inputs=inputs, settings=key, write=write)


def load_verdict(results: Mapping[str, Mapping[str, float]]) -> Verdict:
    """Makes the verdict from the figures that `judge` stored.

    Args:
        results: The figures by group and name; see `training.evaluate.load_results`.
    """
    before, after, difference = (results[name] for name in (BEFORE, RQREC, DIFFERENCE))
    users, interactions = int(difference["users"]), int(difference["interactions"])
    metric = f"ndcg@{K}"
    return Verdict(before[metric], after[metric], difference["low"], difference["high"], users, interactions)


def _ranks(
    recommender: Recommender, asked: Holdout, parent: Bundle, disliked_types: tuple[int, ...], beam_width: int
) -> NDArray[np.float64]:
    lists_QK = rank_holdout(
        recommender,
        asked,
        k=K,
        beam_width=beam_width,
        exclude_history=parent.manifest.exclude_history,
        disliked_types=disliked_types,
        name="judging",
    )
    return ranks_of_targets(lists_QK, asked.targets_U)


def _mean(values_Q: NDArray[np.float64]) -> float:
    return float(values_Q.mean()) if len(values_Q) else 0.0


def interval_over_users(
    values_Q: NDArray[np.float64], user_Q: NDArray[np.int64], *, seed: int = 0
) -> tuple[float, float]:
    """Returns a 95 % interval of the mean of values, by the percentile bootstrap over users (Efron 1979).

    All values of a user are drawn together, because they depend on each other.

    >>> interval_over_users(np.array([1.0, 1.0, 1.0]), np.array([4, 4, 9]))
    (1.0, 1.0)

    Args:
        values_Q: The values.
        user_Q: The user of each value.
        seed: Seed of the samples.

    Returns:
        The bounds of the interval; -1 and 1 without values, between which all differences of NDCG are.
    """
    if not len(values_Q):
        return -1.0, 1.0
    _, row_Q = np.unique(user_Q, return_inverse=True)
    sums_U, counts_U = np.bincount(row_Q, weights=values_Q), np.bincount(row_Q)
    draws = np.random.default_rng(seed).integers(0, len(sums_U), (RESAMPLES, len(sums_U)))
    low, high = np.percentile(sums_U[draws].sum(axis=1) / counts_U[draws].sum(axis=1), [2.5, 97.5])
    return float(low), float(high)
