"""The recommender: histories in, the best eligible items out, whichever engine searches. Needs no torch.

Shapes: B users, T history items, X excluded leaves of a user, K beams, k items asked for, N leaves, P places, M places
that are added, D width.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import BoolArray, FloatArray, Int32Array, IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.new_items import NewItems
from rqrec.models.search.popularity import Popularity
from rqrec.models.search.ranking import Ranking, SearchOutput, rankings
from rqrec.models.trie.trie import NO_LEAF, SemanticIdTrie

POPULAR_KEPT = 4096  # of a filter's items


class SearchEngine(Protocol):
    """Runs `models.search.beam_search.BeamSearch` over one catalogue."""

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
            history_BT: Places, oldest first, padded at the end with any valid place.
            lengths_B: Items in each history, 1..T.
            excluded_BX: For each user, distinct eligible leaves in ascending order that must not be returned, padded at
                the end with -1; X >= 1.
            eligibility: The leaves that may be.
            beam_width: K.
        """

    def with_vectors(self, item_vectors_PD: FloatArray) -> "SearchEngine":
        """The same search for histories that may hold other items too; this engine stays as it is.

        Args:
            item_vectors_PD: The vectors by place: those of the leaves, which are the same, and of the added items.
        """


class Recommender:
    """Answers histories of places (see `models.search.eligibility`).

    Args:
        engine: Searches the trie.
        trie: The catalogue as it was published.
        max_history: T, the most recent items that are read; older ones are dropped here.
        popularity_N: How often each leaf was chosen in training, for users without a usable history.
        new_items: The items that the model never learnt to generate; None for none.

    Attributes:
        everything: The eligibility of every item.
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
        self.everything = Eligibility.everything(trie)
        self._engine = engine
        self._new_items = new_items
        self._popularity = Popularity.from_counts(popularity_N)

    def with_written(
        self,
        item_vectors_PD: FloatArray,
        *,
        everything: Eligibility,
        added_M: IntArray,
        place_of_leaf_N: Int32Array,
        is_foreign_S: BoolArray,
    ) -> "Recommender":
        """The same model after items were written; this recommender stays as it is.

        Args:
            item_vectors_PD: The vectors of all leaves and added places.
            everything: The items that are there now.
            added_M: The places that are new.
            place_of_leaf_N: See `models.search.popularity.Popularity`.
            is_foreign_S: See there too.
        """
        other = copy.copy(self)
        other.everything = everything
        other._popularity = replace(self._popularity, place_of_leaf_N=place_of_leaf_N, is_foreign_S=is_foreign_S)
        if len(added_M):
            new_items = self._new_items
            if new_items is None:
                new_items = NewItems.none(self.trie, item_vectors_PD.shape[1])
            other._new_items = new_items.with_added(added_M, item_vectors_PD[added_M])
            other._engine = self._engine.with_vectors(item_vectors_PD)
        return other

    def prepared(self, eligibility: Eligibility) -> Eligibility:
        """The same with what takes time for each of its items, so that each request with it is quick."""
        popular = self._popularity.best(eligibility, POPULAR_KEPT)
        candidates = None if self._new_items is None else self._new_items.candidates(eligibility)
        return replace(eligibility, candidates=candidates, popular=popular)

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

        Log-probabilities are those over the catalogue that the trie was built of: what was deleted since, or is
        filtered out, is not renormalised away. Those of new items are estimates (see `NewItems.merged`).

        Args:
            histories: Places of each user's items, oldest first, at least one.
            k: How many items to return, at least 1.
            beam_width: Beams kept at every level, and candidates that are ranked; raised to k where it is less.
            excluded: Places that each user must not get, in any order.
            eligibility: The items that any of these users may get; None for all.
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
        if eligibility.num_leaves < self.trie.num_leaves or eligibility.num_added:
            excluded = [places[eligibility.allows(places)] for places in excluded]
        leaves = [places[places < self.trie.num_leaves] for places in excluded] if eligibility.num_added else excluded
        # Not by np.unique: it lets go of the interpreter, and under load has to wait for it.
        excluded_BX = pad([sorted(set(one.tolist())) for one in leaves], filler=NO_LEAF)
        found = self._engine.search(
            pad(recent, filler=0), lengths_B, excluded_BX, eligibility, beam_width=max(beam_width, k)
        )
        if self._new_items is not None and len(self._new_items):
            places = reserved if reserved is not None else [0] * len(histories)
            return self._new_items.merged(found, excluded, eligibility, k=k, reserved=places)
        return rankings(found.leaves_BK[:, :k], found.log_probs_BK[:, :k], found.scores_BK[:, :k])

    def popular(self, *, k: int, excluded: IntArray, eligibility: Eligibility | None = None) -> Ranking:
        """The k most often chosen items; log-probability and score are their log share of all choices (smoothed)."""
        places, log_shares = self._popularity.best(eligibility or self.everything, k, excluded)
        return Ranking(places, log_shares, log_shares)


def pad(rows: Sequence[Sequence[int] | IntArray], *, filler: int) -> IntArray:
    """Stacks rows of unequal length, filled up at the end; at least one column wide."""
    padded = np.full((len(rows), max([1, *map(len, rows)])), filler, dtype=np.int64)
    for padded_row, row in zip(padded, rows, strict=True):
        padded_row[: len(row)] = row
    return padded
