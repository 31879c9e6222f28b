"""Stage: measures the trained retriever and the baselines on the held-out test items.

The retriever is measured through the recommender that the service uses. Every model ranks the whole catalogue without
the items of the history. A list hits if it contains the user's exact next item.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from rqrec.training.data.prepare import load_prepared
from rqrec.training.data.splits import LeaveOneOut, leave_one_out, user_sequences
from rqrec.training.evaluation.baselines import item_popularity, rank_by_item_knn, rank_by_popularity
from rqrec.training.evaluation.rank_holdout import rank_holdout
from rqrec.training.evaluation.report import ITEM_KNN, POPULARITY, RQREC, TOKENIZER, EvaluationSettings, figures
from rqrec.training.features.features import Features, load_features
from rqrec.training.runtime.workspace import Stage, Workspace
from rqrec.training.serving_recommender import load_recommender
from rqrec.training.tokenize_items import load_semantic_ids

RESULTS = "evaluation.json"
CODE_VERSION = 2  # 2: items without a training interaction are candidates too
logger = logging.getLogger("rqrec")


def evaluate(
    workspace: Workspace, data: Stage, features: Stage, tokens: Stage, decoder: Stage, settings: EvaluationSettings
) -> Stage:
    """Runs the stage. It writes evaluation.json: figures by model name, and the figures of the semantic IDs.

    If no user has enough items to be asked about, only the figures of the semantic IDs are written.

    Args:
        workspace: The folder of the run.
        data: The prepared data.
        features: The items' features.
        tokens: The items' semantic IDs.
        decoder: The trained retriever.
        settings: List lengths and beam width.
    """

    def write(directory: Path) -> None:
        split = leave_one_out(user_sequences(load_prepared(data)))
        loaded = load_features(features)
        results = _figures_of_models(split, loaded, tokens, decoder, settings) if len(split.test) else {}
        if not results:
            logger.warning(
                "the model is not evaluated: a test needs a user with three items, and training must keep a user with "
                "two items, but the data has too few"
            )
        results[TOKENIZER] = load_semantic_ids(tokens).figures
        (directory / RESULTS).write_text(json.dumps(results, indent=2), encoding="utf-8")

    inputs = [data, features, tokens, decoder]
    return workspace.run("evaluation", inputs=inputs, settings=settings, write=write, version=CODE_VERSION)


def _figures_of_models(
    split: LeaveOneOut, loaded: Features, tokens: Stage, decoder: Stage, settings: EvaluationSettings
) -> dict[str, Mapping[str, float]]:
    """Returns the figures of the retriever and of the baselines by name."""
    features_NE, popularity_N = loaded.features_NE, item_popularity(split.train, len(loaded.features_NE))
    recommender = load_recommender(tokens, decoder, loaded, popularity_N)
    k, beam = settings.list_length, settings.beam_width
    lists = {
        RQREC: rank_holdout(recommender, split.test, k=k, beam_width=beam),
        ITEM_KNN: rank_by_item_knn(split.train, len(features_NE), split.test, k=k),
        POPULARITY: rank_by_popularity(split.train, len(features_NE), split.test, k=k),
    }
    return {
        name: figures(lists_UK, split.test, features_NE, popularity_N == 0, settings)
        for name, lists_UK in lists.items()
    }


def load_results(stage: Stage) -> dict[str, dict[str, float]]:
    """Reads the figures that `evaluate` wrote, by model name; "tokenizer" holds those of the semantic IDs."""
    results: dict[str, dict[str, float]] = json.loads((stage.path / RESULTS).read_text(encoding="utf-8"))
    return results
