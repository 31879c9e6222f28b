"""The recommender: histories in, the best eligible items out, whichever engine searches. Needs no torch.

Shapes: B users, T history items, X excluded leaves of a user, K beams, k items asked for, N leaves.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.eligibility import Eligibility
from models.new_items import NewItems
from models.ranking import Ranking, SearchOutput, rankings
from models.trie import NO_LEAF, IntArray, SemanticIdTrie

FloatArray = NDArray[np.float32]


class SearchEngine(Protocol):
    """Runs `models.beam_search.BeamSearch` over one catalogue."""

    def search(
        self,
        history_BT: IntArray,
        lengths_B: IntArray,
        excluded_BX: IntArray,
        eligibility: Eligibility,
        *,
        beam_width: int,
    ) -> SearchOutput:
        """Searches for a batch.

        Args:
            history_BT: Leaf positions, oldest first, padded at the end with any valid leaf.
            lengths_B: Items in each history, 1..T.
            excluded_BX: For each user, distinct eligible leaves in ascending order that must not be returned, padded at
                the end with -1; X >= 1.
            eligibility: The leaves that may be.
            beam_width: K.
        """

    def over(self, trie: SemanticIdTrie, item_vectors_ND: FloatArray) -> "SearchEngine":
        """The same model over another catalogue; this engine stays as it is.

        Args:
            trie: The other catalogue.
            item_vectors_ND: Its items' vectors by leaf.
        """


class Recommender:
    """Answers histories of leaf positions.

    Args:
        engine: Searches the trie.
        trie: The catalogue.
        max_history: T, the most recent items that are read; older ones are dropped here.
        popularity_N: How often each leaf was chosen in training, for users without a usable history.
        new_items: The leaves that the model never learnt to generate; None for none.

    Attributes:
        everything: The eligibility of every leaf.
    """

    def __init__(
        self,
        engine: SearchEngine,
        trie: SemanticIdTrie,
        *,
        max_history: int,
        popularity_N: NDArray[np.integer],
        new_items: NewItems | None = None,
    ) -> None:
        if len(popularity_N) != trie.num_leaves:
            raise ValueError(f"popularity must have one entry a leaf ({trie.num_leaves}), got {len(popularity_N)}")
        self.trie = trie
        self.max_history = max_history
        self._engine = engine
        self._new_items = new_items if new_items is not None else NewItems.none()
        self.everything = Eligibility.everything(trie)
        self._popular_N = np.argsort(-popularity_N, kind="stable")
        self._log_popularity_N = np.log((popularity_N + 1) / (popularity_N + 1).sum()).astype(np.float32)

    def over(
        self,
        trie: SemanticIdTrie,
        item_vectors_ND: FloatArray,
        popularity_N: NDArray[np.integer],
        is_new_N: NDArray[np.bool_],
    ) -> "Recommender":
        """The same model over another catalogue, whose vectors, counts and new items are given by leaf."""
        return Recommender(
            self._engine.over(trie, item_vectors_ND),
            trie,
            max_history=self.max_history,
            popularity_N=popularity_N,
            new_items=self._new_items.over(is_new_N, item_vectors_ND),
        )

    def recommend(
        self,
        histories: Sequence[IntArray],
        *,
        k: int,
        beam_width: int,
        excluded: Sequence[IntArray] | None = None,
        eligibility: Eligibility | None = None,
        reserved: Sequence[int] | None = None,
    ) -> list[Ranking]:
        """The k best next items of each user: the most probable, as the retriever ranks them.

        Args:
            histories: Leaf positions of each user's items, oldest first, at least one.
            k: How many items to return, at least 1.
            beam_width: Beams kept at every level, and candidates that are ranked; raised to k where it is less.
            excluded: Leaf positions that each user must not get, in any order.
            eligibility: The leaves that any of these users may get; None for all.
            reserved: For each user, how many of the k shall be new items, if there are any; None for 0.

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
            return []
        eligibility = eligibility or self.everything
        recent = [history[-self.max_history :] for history in histories]
        lengths_B = np.array([len(history) for history in recent])
        if eligibility is not self.everything:
            excluded = [leaves[eligibility.allows(leaves)] for leaves in excluded]
        # Not by np.unique: it lets go of the interpreter, and under load has to wait for it.
        excluded_BX = pad([sorted(set(leaves.tolist())) for leaves in excluded], filler=NO_LEAF)
        found = self._engine.search(
            pad(recent, filler=0), lengths_B, excluded_BX, eligibility, beam_width=max(beam_width, k)
        )
        if len(self._new_items):
            places = reserved if reserved is not None else [0] * len(histories)
            return self._new_items.merged(found, excluded, eligibility, k=k, reserved=places)
        return rankings(found.leaves_BK[:, :k], found.log_probs_BK[:, :k], found.scores_BK[:, :k])

    def popular(self, *, k: int, excluded: IntArray, eligibility: Eligibility | None = None) -> Ranking:
        """The k most often chosen leaves; log-probability and score are their log share of all choices (smoothed)."""
        leaves_N = self._popular_N
        if eligibility is not None:
            leaves_N = leaves_N[eligibility.allows(leaves_N)]
        candidates = leaves_N[: k + len(excluded)]
        leaves = candidates[~np.isin(candidates, excluded)][:k]
        return Ranking(leaves, self._log_popularity_N[leaves], self._log_popularity_N[leaves])


def pad(rows: Sequence[Sequence[int] | IntArray], *, filler: int) -> IntArray:
    """Stacks rows of unequal length, filled up at the end; at least one column wide."""
    padded = np.full((len(rows), max([1, *map(len, rows)])), filler, dtype=np.int64)
    for padded_row, row in zip(padded, rows, strict=True):
        padded_row[: len(row)] = row
    return padded
