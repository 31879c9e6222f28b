"""Histories with known answers: a model that does not give them again is not let answer. Needs no torch.

They are recorded with the model as it was trained, and asked of the graph that serves. Items stand by their row of the
bundle.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rqrec.models.search.recommender import Recommender

PLACES = ((0, 1), (1, 6), (6, 26))  # by popularity, from and up to: nobody's own history
K, BEAM_WIDTH = 10, 50
SCORE_TOLERANCE = 0.01  # relative: half precision moves scores by thousandths
SHARED_AT_LEAST = 0.8  # of a list: equal but for near ties


@dataclass(frozen=True)
class Golden:
    """A history and its answer.

    Attributes:
        history: Rows, oldest first.
        rows: What is to be recommended, best first.
        scores: Of these.
    """

    history: Sequence[int]
    rows: Sequence[int]
    scores: Sequence[float]

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Golden":
        """The inverse of `asdict` after a passage through JSON."""
        return cls(fields["history"], fields["rows"], fields["scores"])


def record_golden(recommender: Recommender, popularity_R: NDArray[np.integer]) -> list[Golden]:
    """Asks about histories of popular items.

    Args:
        recommender: The model.
        popularity_R: How often each row was chosen in training.
    """
    by_popularity = np.argsort(-popularity_R, kind="stable").tolist()
    histories = [by_popularity[begin:end] for begin, end in PLACES if begin < len(by_popularity)]
    answers = _ask(recommender, histories)
    return [
        Golden(history, list(answer), list(answer.values())) for history, answer in zip(histories, answers, strict=True)
    ]


def golden_faults(recommender: Recommender, golden: Sequence[Golden]) -> list[str]:
    """What of the known answers does not come again; nothing where all is well."""
    try:
        answers = _ask(recommender, [one.history for one in golden])
    except Exception as error:  # of whatever kind: a graph of another's may fail in any way
        return [f"the search fails ({type(error).__name__}: {error})"]
    faults = []
    for one, answer in zip(golden, answers, strict=True):
        known = dict(zip(one.rows, one.scores, strict=True))
        shared = known.keys() & answer.keys()
        if len(answer) != len(known) or len(shared) < SHARED_AT_LEAST * len(known):
            faults.append(f"after rows {one.history} the rows {list(known)} were known to come, {list(answer)} came")
        elif any(not _is_close(known[row], answer[row]) for row in shared):
            faults.append(f"after rows {one.history} the scores {one.scores} were known, {list(answer.values())} came")
    return faults


def _is_close(known: float, found: float) -> bool:
    return math.isclose(known, found, rel_tol=SCORE_TOLERANCE, abs_tol=SCORE_TOLERANCE)


def _ask(recommender: Recommender, histories: Sequence[Sequence[int]]) -> list[dict[int, float]]:
    leaf_of_row = recommender.trie.leaf_of_row_N
    leaves = [leaf_of_row[np.array(history, dtype=np.int64)] for history in histories]
    found = recommender.recommend(leaves, k=K, beam_width=BEAM_WIDTH, excluded=leaves)
    rows = recommender.trie.row_of_leaf_N
    return [dict(zip(rows[ranking.leaves_K].tolist(), ranking.scores_K.tolist(), strict=True)) for ranking in found]
