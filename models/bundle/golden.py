"""Golden answers: histories whose answers are known. A model that gives other answers must not serve. Needs no torch.

Training records the answers of the trained model. The service asks the exported search for them again. Items are given
by their row in the bundle.
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
    """A history and its known answer.

    Attributes:
        history: Rows of the history's items, oldest first.
        rows: Rows of the recommended items, best first.
        scores: The score of each recommended item.
    """

    history: Sequence[int]
    rows: Sequence[int]
    scores: Sequence[float]

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Golden":
        """Makes a golden answer from the fields that `asdict` and JSON gave."""
        return cls(fields["history"], fields["rows"], fields["scores"])


def record_golden(recommender: Recommender, popularity_R: NDArray[np.integer]) -> list[Golden]:
    """Records a model's answers to histories of popular items.

    Args:
        recommender: The trained model.
        popularity_R: How often each row's item was chosen in training.

    Returns:
        One golden answer for each history.
    """
    by_popularity = np.argsort(-popularity_R, kind="stable").tolist()
    histories = [by_popularity[begin:end] for begin, end in POPULARITY_RANKS if begin < len(by_popularity)]
    answers = _ask(recommender, histories)
    return [
        Golden(history, list(answer), list(answer.values())) for history, answer in zip(histories, answers, strict=True)
    ]


def golden_faults(recommender: Recommender, golden: Sequence[Golden]) -> list[str]:
    """Finds the golden answers that a model cannot reproduce. Small differences of scores are allowed.

    Args:
        recommender: The model that is about to serve.
        golden: The golden answers of its bundle.

    Returns:
        One line for each answer that differs, or a single line if there are no golden answers or the search fails. An
        empty list means that all answers are right.
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
