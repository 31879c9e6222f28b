"""The recommender: finds the best items for users from their histories, with any search engine.

The place of an item is a number: its leaf in the trie, 0..N-1, or an added place, N or above, if the item was added
after the trie was built. This module does not need PyTorch.

Shapes: B users, T history items, X excluded leaves of a user, K beams, N leaves, P places, S added places, M places
that one change has added, D width.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import BoolArray, FloatArray, Int32Array, IntArray
from rqrec.models.search.control.further_items import FurtherItems
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.history.own_items import OwnItems
from rqrec.models.search.new.new_item_index import COMPARED_ALL
from rqrec.models.search.new.new_items import NewItems
from rqrec.models.search.padding import pad
from rqrec.models.search.popularity import Popularity
from rqrec.models.search.ranking import Ranking, SearchOutput, rankings
from rqrec.models.trie.trie import NO_LEAF, SemanticIdTrie

POPULAR_KEPT = 4096  # items of a filter


class SearchEngine(Protocol):
    """The interface of search engines: they run `models.search.beam_search.BeamSearch` on one catalogue."""

    def search(
        self,
        history_BT: IntArray,
        lengths_B: IntArray,
        excluded_BX: IntArray,
        eligibility: Eligibility,
        *,
        beam_width: int,
        types_BT: IntArray | None = None,
        in_session_B: Int32Array | None = None,
        with_prefixes: bool = False,
    ) -> SearchOutput:
        """Finds the K best items that pass a filter, for each of B users, or more.

        Args:
            history_BT: The places of each user's history items, oldest first, padded at the end with any valid place;
                int64. A place is a leaf of the trie, or a number after all leaves for an item that was added later.
            lengths_B: The number of items in each history, 1..T, int64.
            excluded_BX: For each user, the leaves that must not be returned: distinct leaves that pass the filter, in
                ascending order, padded at the end with -1; int64, X >= 1.
            eligibility: The items that pass the filter. The search returns leaves only.
            beam_width: K, the number of beams, and the least number of returned items for each user.
            types_BT: The event type of each history item, 0 for unknown, padded at the end; int64. None if all are
                unknown. Ignored if the model reads no event types.
            in_session_B: 1 for a request in the session of the last history item, else 0; int32. None if no one is.
            with_prefixes: Whether to return the prefixes of all beams too.

        Returns:
            The best items of each user that pass the filter and are not excluded.
        """

    def with_vectors(self, item_vectors_PD: FloatArray) -> "SearchEngine":
        """Makes an engine whose histories may contain items that were added after the trie was built.

        This engine does not change.

        Args:
            item_vectors_PD: The item vectors, float32: first those of the N leaves, which are the same as in this
                engine, then those of the added items.
        """


class Recommender:
    """Recommends items to users from their histories.

    An item is given by its place: its leaf in the trie, or a number after all leaves for an item that was added later.

    Args:
        engine: The engine that searches the trie.
        trie: The trie of the catalogue when the bundle was published.
        max_history: T, the number of most recent items of a history that the engine gets; older items are cut off.
        popularity_N: How often users chose the item of each leaf in the training data.
        new_items: The items that the model did not learn to generate; None if there are no such items.
        own_items: Adds items of the user's own history to the candidates; None to add none.
        further_items: Makes rankings longer; None if `recommend` need not.

    Attributes:
        trie: The trie of the catalogue when the bundle was published.
        max_history: T, the number of most recent items of a history that the model reads.
        everything: The eligibility without a filter: all items are eligible.

    Raises:
        ValueError: If the number of entries in `popularity_N` is not the number of leaves.
    """

    def __init__(
        self,
        engine: SearchEngine,
        trie: SemanticIdTrie,
        *,
        max_history: int,
        popularity_N: NDArray[np.integer],
        new_items: NewItems | None = None,
        own_items: OwnItems | None = None,
        further_items: FurtherItems | None = None,
    ) -> None:
        if len(popularity_N) != trie.num_leaves:
            raise ValueError(
                f"popularity needs one entry per leaf ({trie.num_leaves}), got {len(popularity_N)}: count the choices "
                "for the same trie"
            )
        self.trie = trie
        self.max_history = max_history
        self._engine = engine
        self._new_items = new_items
        self._own_items = own_items
        self._further_items = further_items
        self.everything = self._with_few_candidates(Eligibility.everything(trie))
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
        """Makes a recommender with the same model for a changed catalogue. This recommender does not change.

        Args:
            item_vectors_PD: The item vectors, float32: first those of the N leaves, then those of all items that were
                added after the trie was built.
            everything: The eligibility without a filter: all items of the changed catalogue are eligible.
            added_M: The places (item numbers) that this change has added, int64.
            place_of_leaf_N: For the bundle's item of each leaf, its present place (item number), int32: the leaf
                itself; or N or above, if a live write moved the item to a place after all leaves; or -1 if the item was
                deleted. A write moves an item if its semantic ID changes or if nobody chose the item in the training
                data.
            is_foreign_S: One entry for each live write of an item, oldest first, bool: whether the item_id is not in
                the bundle. Nobody chose such an item in the training data. Write s gives its item the place N + s,
                unless the place of the item remains its leaf.
        """
        other = copy.copy(self)
        other._popularity = replace(self._popularity, place_of_leaf_N=place_of_leaf_N, is_foreign_S=is_foreign_S)
        if len(added_M):
            new_items = self._new_items
            if new_items is None:
                new_items = NewItems.none(self.trie, item_vectors_PD.shape[1])
            other._new_items = new_items.with_added(added_M, item_vectors_PD[added_M])
            other._engine = self._engine.with_vectors(item_vectors_PD)
        other.everything = other._with_few_candidates(everything)
        return other

    def prepared(self, eligibility: Eligibility) -> Eligibility:
        """Computes once, for all requests with the same filter, what they need besides the search.

        The result is a copy of the filter's eligibility (the set of items that pass it) with two more fields:
        `popular`, the most popular of these items, and `candidates`, those that the model did not learn to generate.
        """
        popular = self._popularity.best(eligibility, POPULAR_KEPT)
        return replace(self.with_candidates(eligibility), popular=popular)

    def with_candidates(self, eligibility: Eligibility) -> Eligibility:
        """Computes `Eligibility.candidates`: those of the items that the model did not learn to generate."""
        candidates = None if self._new_items is None else self._new_items.candidates(eligibility)
        return replace(eligibility, candidates=candidates)

    def _with_few_candidates(self, everything: Eligibility) -> Eligibility:
        """Finds the candidates if they are so few that they cost a write next to nothing."""
        if self._new_items is None or len(self._new_items) > COMPARED_ALL:
            return everything
        return self.with_candidates(everything)

    def recommend(
        self,
        histories: Sequence[IntArray],
        *,
        k: int,
        beam_width: int,
        excluded: Sequence[IntArray] | None = None,
        eligibility: Eligibility | None = None,
        reserved: Sequence[int] | None = None,
        types: Sequence[IntArray | None] | None = None,
        in_session: Sequence[bool] | None = None,
        on_found: Callable[[SearchOutput], None] | None = None,
        further: int = 0,
    ) -> list[Ranking]:
        """Finds the k best next items of each user, by score.

        The probabilities of all items of the bundle sum to one, so the log-probability of an item is the same with and
        without a filter, and after other items are deleted. It is only an estimate for new items (see
        `NewItems.merged`), and for following items and items of the history that the search did not find.

        Args:
            histories: For each user, the places of the history items, oldest first, int64, at least one. A place is a
                leaf of the trie, or a number after all leaves for an item that was added later.
            k: How many items to return for each user, at least 1.
            beam_width: The number of beams of each user, and of items that the search finds; raised to k if it is less.
            excluded: For each user, the places of items that must not be returned, in any order; None for no exclusion.
            eligibility: The items that pass the filter, the same for all users; None for all items.
            reserved: For each user, how many of the k items must be new items, if so many are eligible; None for 0.
            types: For each user, the event types of the history items, 0 for unknown; None if all are unknown.
            in_session: Whether each request belongs to the session of the last history item (see
                `models.search.history.transitions.is_in_session`); None for no request.
            on_found: Gets the result of the search with the prefixes of all beams, before other candidates join it.
            further: How many items to add to each ranking that the search did not find, with estimated scores; see
                `models.search.control.further_items`.

        Returns:
            One ranking for each user, with at most k items and the further ones.

        Raises:
            ValueError: If a history is empty, k is out of range, or `histories` and `excluded` differ in length.
        """
        excluded = excluded if excluded is not None else [np.empty(0, dtype=np.int64)] * len(histories)
        if k < 1 or len(excluded) != len(histories) or any(len(history) == 0 for history in histories):
            raise ValueError(
                f"recommend needs k >= 1, got {k}; non-empty histories; and one list of exclusions per history, got "
                f"{len(excluded)} for {len(histories)}"
            )
        if not histories:
            return []
        eligibility = eligibility or self.everything
        recent = [history[-self.max_history :] for history in histories]
        lengths_B = np.array([len(history) for history in recent])
        if eligibility.num_leaves < self.trie.num_leaves or eligibility.num_added:
            excluded = [places[eligibility.allows(places)] for places in excluded]
        leaves = [places[places < self.trie.num_leaves] for places in excluded] if eligibility.num_added else excluded
        # Not np.unique: it releases the GIL, and a thread under load waits long to get it back.
        excluded_BX = pad([sorted(set(one.tolist())) for one in leaves], filler=NO_LEAF)
        found = self._engine.search(
            pad(recent, filler=0),
            lengths_B,
            excluded_BX,
            eligibility,
            beam_width=max(beam_width, k),
            types_BT=None if types is None else self._recent_types(types, recent),
            in_session_B=None if in_session is None else np.array(in_session, dtype=np.int32),
            with_prefixes=on_found is not None,
        )
        if on_found is not None:
            on_found(found)
        if self._own_items is not None:
            found = self._own_items.merged(found, histories, excluded_BX, eligibility)
        if self._new_items is not None and len(self._new_items):
            reserved = reserved if reserved is not None else [0] * len(histories)
            lists = self._new_items.merged(found, excluded, eligibility, k=k, reserved=reserved)
        else:
            lists = rankings(found.leaves_BK[:, :k], found.log_probs_BK[:, :k], found.scores_BK[:, :k])
        if further and self._further_items is not None:
            return self._further_items.joined(lists, found, excluded_BX, eligibility, count=further)
        return lists

    def _recent_types(self, types: Sequence[IntArray | None], recent: Sequence[IntArray]) -> IntArray | None:
        """Returns the event types of the recent items, padded; None if all are unknown."""
        if all(one is None for one in types):
            return None
        unknown = [np.zeros(len(history), dtype=np.int64) for history in recent]
        return pad(
            [none if one is None else one[-self.max_history :] for one, none in zip(types, unknown, strict=True)],
            filler=0,
        )

    def popular(self, *, k: int, excluded: IntArray, eligibility: Eligibility | None = None) -> Ranking:
        """Finds the k most popular items, without a history.

        Args:
            k: How many items to return, at least 1.
            excluded: The places (item numbers) of items that must not be returned, int64.
            eligibility: The items that pass the filter; None for all items.

        Returns:
            The items, the most popular first. The log-probability and the score of an item are both the natural
            logarithm of its share of all choices in the training data.
        """
        places, log_shares = self._popularity.best(eligibility or self.everything, k, excluded)
        return Ranking(places, log_shares, log_shares)
