"""Golden answers: recommendations that training records, and that the service must reproduce before it uses a model.

Training records the recommendations of the trained model for a few histories. When the service loads the bundle, it
computes the recommendations for the same histories again, and compares the two. An item is named by its row number in
the bundle's table of items. This module does not need PyTorch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rqrec.models.search.recommender import Recommender

POPULARITY_RANKS = ((0, 1), (1, 6), (6, 26))  # half-open ranges; the bundle publishes no user's history
K, BEAM_WIDTH = 10, 50
SCORE_TOLERANCE = 0.01  # relative: half precision moves scores by thousandths
SHARED_AT_LEAST = 0.8  # share of the rows: near ties may change the others


@dataclass(frozen=True)
class Golden:
    """A golden answer: a history, and the recommendations that the trained model gave for it.

    Training records it. The service uses the model only if the model recommends nearly the same for the history again.

    Attributes:
        history: Row numbers of the history's items in the bundle's table of items, oldest first.
        rows: Row numbers of the recommended items, best first.
        scores: The score of each recommended item, in the order of `rows`.
    """

    history: Sequence[int]
    rows: Sequence[int]
    scores: Sequence[float]

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Golden":
        """Makes a golden answer from parsed JSON, as a bundle's `manifest.json` stores it.

        Args:
            fields: A mapping with the keys `history`, `rows` and `scores`, the attributes of this class.
        """
        return cls(fields["history"], fields["rows"], fields["scores"])


def record_golden(recommender: Recommender, popularity_R: NDArray[np.integer]) -> list[Golden]:
    """Computes the golden answers of a model: its recommendations for a few histories that consist of popular items.

    The bundle stores them. The service computes the recommendations for these histories again, and uses the model only
    if they are nearly the same.

    Args:
        recommender: The recommender of the trained model.
        popularity_R: How often users chose each item in the training data, by row of the bundle's table of items.

    Returns:
        One golden answer for each history: three, or fewer if the catalogue is very small.
    """
    by_popularity = np.argsort(-popularity_R, kind="stable").tolist()
    histories = [by_popularity[begin:end] for begin, end in POPULARITY_RANKS if begin < len(by_popularity)]
    answers = _ask(recommender, histories)
    return [
        Golden(history, list(answer), list(answer.values())) for history, answer in zip(histories, answers, strict=True)
    ]


def golden_faults(recommender: Recommender, golden: Sequence[Golden]) -> list[str]:
    """Compares what a model recommends now with its golden answers, and describes the differences.

    A golden answer is a history with the recommendations that training recorded for it. The model reproduces an answer
    if three things hold for the list that it now recommends for this history. The list has as many items as the answer.
    At least the share `SHARED_AT_LEAST` of the answer's items are in the list. The old and new scores of these items
    differ by at most `SCORE_TOLERANCE` (relative, or absolute if that allows more).

    Args:
        recommender: The recommender of the model to check.
        golden: The golden answers of the model's bundle.

    Returns:
        An empty list if the model reproduces all answers. Else one message for each answer that differs, or a single
        message if `golden` is empty or the search fails.
    """
    if not golden:
        return ["expected at least one recorded answer, got none"]
    try:
        answers = [answer for one in golden for answer in _ask(recommender, [one.history])]
    except Exception as error:  # a graph from outside may fail in any way
        return [f"the search fails ({type(error).__name__}: {error})"]
    faults = []
    for one, answer in zip(golden, answers, strict=True):
        known = dict(zip(one.rows, one.scores, strict=True))
        shared = known.keys() & answer.keys()
        if len(answer) != len(known) or len(shared) < SHARED_AT_LEAST * len(known):
            faults.append(f"after the rows {one.history} expected the rows {list(known)}, got {list(answer)}")
        elif any(not _is_close(known[row], answer[row]) for row in shared):
            faults.append(f"after the rows {one.history} expected the scores {one.scores}, got {list(answer.values())}")
    return faults


def _is_close(known: float, found: float) -> bool:
    return math.isclose(known, found, rel_tol=SCORE_TOLERANCE, abs_tol=SCORE_TOLERANCE)


def _ask(recommender: Recommender, histories: Sequence[Sequence[int]]) -> list[dict[int, float]]:
    """The recommended rows and their scores for each history."""
    leaf_of_row = recommender.trie.leaf_of_row_N
    leaves = [leaf_of_row[np.array(history, dtype=np.int64)] for history in histories]
    found = recommender.recommend(leaves, k=K, beam_width=BEAM_WIDTH, excluded=leaves)
    rows = recommender.trie.row_of_leaf_N
    return [dict(zip(rows[ranking.leaves_K].tolist(), ranking.scores_K.tolist(), strict=True)) for ranking in found]
