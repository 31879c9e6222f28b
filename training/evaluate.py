"""Stage: measures the trained retriever and the baselines on the held-out test items.

The retriever is measured through the recommender that the service uses. Every model ranks the whole catalogue. Lists
leave out the items of the user's history, except for data in which users often choose the same items again (see
`SplitSettings.exclude_history`). A list hits if it contains the user's next item.

The retriever is measured without times. If the data has times, it is measured once more with the times of the history
and of the next item.

Shapes: U users, K list length, N items.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rqrec.models.search.ranking import Ranking
from rqrec.models.search.recommender import Recommender
from rqrec.training.data.dataset import TIMESTAMP, Dataset
from rqrec.training.data.prepare import load_prepared, load_repeats, load_split
from rqrec.training.data.splits import Holdout, Split
from rqrec.training.data.splitting.repeats import Repeats
from rqrec.training.evaluation.baselines import (
    item_popularity,
    most_popular,
    rank_by_item_knn,
    rank_by_popularity,
)
from rqrec.training.evaluation.details import EvaluationDetails
from rqrec.training.evaluation.own_items import rank_by_own_frequency, rank_by_own_recency
from rqrec.training.evaluation.rank_holdout import rank_holdout
from rqrec.training.evaluation.recent_popularity import recent_popularity
from rqrec.training.evaluation.report import (
    DATA,
    ITEM_KNN,
    OWN_FREQUENT,
    OWN_RECENT,
    POPULARITY,
    RECENT,
    RQREC,
    RQREC_TIMED,
    TOKENIZER,
    EvaluationSettings,
    figures,
)
from rqrec.training.features.features import Features, load_features
from rqrec.training.runtime.workspace import Stage, Workspace
from rqrec.training.serving_recommender import load_recommender
from rqrec.training.tokenize_items import load_semantic_ids

RESULTS = "evaluation.json"
CODE_VERSION = 5  # 5: a second row of figures, with known times
NOT_EVALUATED = (
    "no user has items enough to be held out (SplitSettings.held_out_items), or training must keep a user with two"
)
logger = logging.getLogger("rqrec")
Lists = Mapping[str, NDArray[np.int64]]


def evaluate(
    workspace: Workspace, data: Stage, features: Stage, tokens: Stage, decoder: Stage, settings: EvaluationSettings
) -> Stage:
    """Runs the stage "evaluation": measures the retriever and the baselines, and stores the metrics in the workspace.

    The file evaluation.json holds the metrics of each model, of the data and of the semantic IDs. If there are no test
    users, it has no metrics of models. Else the ranks of all users and other details lie beside it; see
    `training.evaluation.details`.

    Args:
        workspace: The folder that stores the results of all stages.
        data: The result of `prepare_data`: the checked data and its split.
        features: The result of `make_features`: the features of all items.
        tokens: The result of `tokenize_items`: the semantic IDs of all items.
        decoder: The result of `train_decoder`: the trained retriever.
        settings: List lengths, beam width, and the days that the baseline "recent popularity" counts.

    Returns:
        The finished stage. Its result is in the folder `Stage.path`; `load_results` reads it.
    """

    def write(directory: Path) -> None:
        split, repeats, dataset = load_split(data), load_repeats(data), load_prepared(data)
        results: dict[str, Mapping[str, float]] = {}
        if len(split.test):
            loaded = load_features(features)
            popularity_N = item_popularity(split.train, len(loaded.features_NE))
            recommender = load_recommender(tokens, decoder, loaded, popularity_N)
            log_probs_UK = np.full((len(split.test), settings.list_length), -np.inf, dtype=np.float32)
            found = _own_lists(recommender, split.test, dataset, repeats, settings, log_probs_UK)
            times_I = dataset.interactions[TIMESTAMP].to_numpy()[split.is_train_I]
            recent_N = recent_popularity(split.train, times_I, len(popularity_N), days=settings.recent_days)
            lists = {**found, **_baselines(split, popularity_N, recent_N, repeats, settings.list_length)}
            results |= _figures(lists, split.test, loaded, popularity_N, settings)
            details = EvaluationDetails.from_lists(
                lists,
                split.test,
                popularity_N,
                shown_k=settings.profile_k,
                model=RQREC,
                log_probs_UK=log_probs_UK,
            )
            details.write(directory)
        else:
            logger.warning("the model is not evaluated: %s", NOT_EVALUATED)
        results[DATA] = repeats.figures | {"split_by_time": float(split.test.period is not None)}
        results[TOKENIZER] = load_semantic_ids(tokens).figures
        (directory / RESULTS).write_text(json.dumps(results, indent=2), encoding="utf-8")

    inputs = [data, features, tokens, decoder]
    return workspace.run("evaluation", inputs=inputs, settings=settings, write=write, version=CODE_VERSION)


def _own_lists(
    recommender: Recommender,
    test: Holdout,
    dataset: Dataset,
    repeats: Repeats,
    settings: EvaluationSettings,
    log_probs_UK: NDArray[np.float32],
) -> Lists:
    """Returns the retriever's lists, without and with times, and fills in the log-probabilities of those without."""

    def note(user: int, ranking: Ranking) -> None:
        log_probs_UK[user, : len(ranking.log_probs_K)] = ranking.log_probs_K

    return {
        name: rank_holdout(
            recommender,
            test,
            k=settings.list_length,
            beam_width=settings.beam_width,
            exclude_history=repeats.exclude_history,
            disliked_types=dataset.disliked_types,
            times_known=name == RQREC_TIMED,
            observe=note if name == RQREC else None,
        )
        for name in ([RQREC] if test.times_U is None else [RQREC, RQREC_TIMED])
    }


def _baselines(
    split: Split,
    popularity_N: NDArray[np.int64],
    recent_N: NDArray[np.int64] | None,
    repeats: Repeats,
    k: int,
) -> Lists:
    """Returns the lists of every baseline by name. They leave out the history if the model's lists do."""
    exclude, num_items = repeats.exclude_history, len(popularity_N)
    lists = {
        ITEM_KNN: rank_by_item_knn(split.train, num_items, split.test, k=k, exclude_history=exclude),
        POPULARITY: rank_by_popularity(popularity_N, split.test, k=k, exclude_history=exclude),
    }
    if recent_N is not None:
        lists[RECENT] = rank_by_popularity(recent_N, split.test, k=k, exclude_history=exclude)
    if not exclude:
        fillers = most_popular(popularity_N, 2 * k)
        lists[OWN_FREQUENT] = rank_by_own_frequency(split.test, fillers, k=k)
        lists[OWN_RECENT] = rank_by_own_recency(split.test, fillers, k=k)
    return lists


def _figures(
    lists: Lists,
    test: Holdout,
    loaded: Features,
    popularity_N: NDArray[np.int64],
    settings: EvaluationSettings,
) -> dict[str, Mapping[str, float]]:
    """Returns the figures of every model by name."""
    return {
        name: figures(lists_UK, test, loaded.features_NE, popularity_N == 0, settings)
        for name, lists_UK in lists.items()
    }


def load_results(stage: Stage) -> dict[str, dict[str, float]]:
    """Reads the metrics that `evaluate` stored.

    The keys are model names such as "rqrec", and also "data" and "tokenizer" (for the semantic IDs). Each value holds
    metrics by name, such as {"recall@10": 0.08}.
    """
    results: dict[str, dict[str, float]] = json.loads((stage.path / RESULTS).read_text(encoding="utf-8"))
    return results
