"""The recommender: histories in, the best eligible items out, whichever engine searches. Needs no torch.

Shapes: B users, T history items, X excluded leaves, K beams, k items asked for, N leaves.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from models.trie import SemanticIdTrie

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]


class SearchOutput(NamedTuple):
    """leaves_BK, int64, best first, -1 past the last eligible item; log_probs_BK, float32, natural logarithms."""

    leaves_BK: IntArray
    log_probs_BK: FloatArray


class SearchEngine(Protocol):
    """Runs `models.beam_search.BeamSearch` over one catalogue; see there for the arguments."""

    def search(
        self, history_BT: IntArray, lengths_B: IntArray, excluded_BX: IntArray, eligible_before: IntArray, *, beam: int
    ) -> SearchOutput:
        """Searches for a batch."""


class Recommendations(NamedTuple):
    """The best leaves of each user, best first, and their natural log-probabilities.

    A row is shorter than k where fewer items are eligible.
    """

    leaves: list[IntArray]
    log_probs: list[FloatArray]


class Recommender:
    """Answers histories of leaf positions.

    Args:
        engine: Searches the trie.
        trie: The catalogue.
        max_history: T, the most recent items that are read; older ones are dropped here.
        popularity_N: How often each leaf was chosen in training, for users without a usable history.
    """

    def __init__(
        self, engine: SearchEngine, trie: SemanticIdTrie, *, max_history: int, popularity_N: NDArray[np.integer]
    ) -> None:
        if len(popularity_N) != trie.num_leaves:
            raise ValueError(f"popularity must have one entry a leaf ({trie.num_leaves}), got {len(popularity_N)}")
        self.trie = trie
        self.max_history = max_history
        self._engine = engine
        self._eligible_before = np.arange(trie.num_leaves + 1)
        self._popular_N = np.argsort(-popularity_N, kind="stable")
        self._log_popularity_N = np.log((popularity_N + 1) / (popularity_N + 1).sum()).astype(np.float32)

    def recommend(
        self, histories: Sequence[IntArray], *, k: int, beam_width: int, excluded: Sequence[IntArray] | None = None
    ) -> Recommendations:
        """The k most probable next items of each user.

        Args:
            histories: Leaf positions of each user's items, oldest first, at least one.
            k: How many items to return, at least 1.
            beam_width: Beams kept at every level; raised to k where it is less.
            excluded: Leaf positions that each user must not get, in any order.

        Raises:
            ValueError: If a history is empty, k is out of range or the two lists differ in length.
        """
        excluded = excluded if excluded is not None else [np.empty(0, dtype=np.int64)] * len(histories)
        if k < 1 or len(excluded) != len(histories) or any(len(history) == 0 for history in histories):
            raise ValueError(
                f"recommend needs k >= 1 (got {k}), non-empty histories and as many exclusions as histories "
                f"(got {len(excluded)} and {len(histories)})"
            )
        if not histories:
            return Recommendations([], [])
        recent = [history[-self.max_history :] for history in histories]
        lengths_B = np.array([len(history) for history in recent])
        found = self._engine.search(
            pad(recent, filler=0),
            lengths_B,
            pad([np.unique(leaves) for leaves in excluded], filler=self.trie.num_leaves),
            self._eligible_before,
            beam=max(beam_width, k),
        )
        found_B = np.minimum((found.leaves_BK >= 0).sum(axis=1), k)
        return Recommendations(
            [row[:count] for row, count in zip(found.leaves_BK, found_B, strict=True)],
            [row[:count] for row, count in zip(found.log_probs_BK, found_B, strict=True)],
        )

    def popular(self, *, k: int, excluded: IntArray) -> tuple[IntArray, FloatArray]:
        """The k most often chosen leaves, and their log share of all choices (add-one smoothed)."""
        candidates = self._popular_N[: k + len(excluded)]
        leaves = candidates[~np.isin(candidates, excluded)][:k]
        return leaves, self._log_popularity_N[leaves]


def pad(rows: Sequence[IntArray], *, filler: int) -> IntArray:
    """Stacks rows of unequal length, filled up at the end; at least one column wide."""
    padded = np.full((len(rows), max([1, *map(len, rows)])), filler, dtype=np.int64)
    for padded_row, row in zip(padded, rows, strict=True):
        padded_row[: len(row)] = row
    return padded
