"""Explains a list of recommendations by further searches: what each history item adds to the scores, and each code.

A history item adds to an item's score what the score loses if the history item is left out. So the list is scored
again for T shorter histories: T + 1 searches, in which only the items of the list are eligible.
Log-probabilities refer to the whole catalogue, so these scores are those of a search of everything. The scores of new
items are estimated from the items that the search found (see `models.search.new`), here from those of the list. An item
that joined the found ones, because it followed the last items or is in the history, has its true log-probability here
and no estimate. This module does not need PyTorch.

Shapes: T history items that the search reads, K items of the list, L levels.
"""

from typing import NamedTuple

import numpy as np

from rqrec.models.array_types import BoolArray, FloatArray, IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.ranking import Explanation, Ranking, SearchOutput
from rqrec.models.search.recommender import Recommender
from rqrec.models.trie.trie import SemanticIdTrie, unpack_codes

NOBODY: IntArray = np.empty(0, dtype=np.int64)
TOLERANCE = 0.01  # of a log-probability, relative or absolute: half precision moves it by thousandths


class _Row(NamedTuple):
    """One search of the batch: a history, its event types, and whether the request is in the session of its end."""

    history: IntArray
    types: IntArray | None
    in_session: bool


def read_positions(recommender: Recommender, history: IntArray) -> range:
    """Returns the positions of the history items that a search reads: the last ones.

    Args:
        recommender: The recommender that searches.
        history: The places of the history items, oldest first.
    """
    return range(max(len(history) - recommender.max_history, 0), len(history))


def explained(
    recommender: Recommender,
    places_K: IntArray,
    history: IntArray,
    *,
    types: IntArray | None = None,
    in_session: bool = False,
    in_session_before: bool = False,
    positions: range | None = None,
) -> Explanation:
    """Explains a list of recommendations for one user.

    All searches are one batch. With `positions`, a long history is explained in parts, between which other searches
    can run.

    Args:
        recommender: The recommender that made the list.
        places_K: The places of the items of the list.
        history: The places of the history items, oldest first, int64, at least one.
        types: The event type of each history item, 0 for unknown; None if all are unknown.
        in_session: Whether the request belongs to the session of the last history item.
        in_session_before: Whether it would without the last history item.
        positions: The positions of the history items whose contributions are returned, among those of
            `read_positions`; None for all of these.
    """
    trie, num_places = recommender.trie, recommender.trie.num_leaves + len(recommender.everything.added_S)
    positions = read_positions(recommender, history) if positions is None else positions
    if not len(places_K):
        nothing = np.empty((0, len(positions)), dtype=np.float32)
        return Explanation(nothing, np.empty((0, trie.num_levels), dtype=np.float32))
    only = recommender.with_candidates(Eligibility.only(trie, places_K, num_places))
    rows = [_Row(history, types, in_session)]
    for position in positions if len(history) > 1 else ():  # no search reads an empty history
        other_types = None if types is None else np.delete(types, position)
        is_last = position == len(history) - 1
        rows.append(_Row(np.delete(history, position), other_types, in_session_before if is_last else in_session))
    found: list[SearchOutput] = []
    histories, all_types, all_in_session = zip(*rows, strict=True)
    whole, *without = recommender.recommend(
        histories,
        k=len(places_K),
        beam_width=len(places_K),
        eligibility=only,
        types=all_types,
        in_session=all_in_session,
        on_found=found.append,
    )
    if len(history) == 1:  # without it, the most popular items are recommended
        without = [recommender.popular(k=len(places_K), excluded=NOBODY, eligibility=only)]
    scores_K = _of_places(places_K, whole, whole.scores_K)
    lost = [scores_K - _of_places(places_K, ranking, ranking.scores_K) for ranking in without]
    level_log_probs_KL = _by_level(found[0], trie, places_K)
    is_estimate_K = _differs(level_log_probs_KL.sum(axis=1), _of_places(places_K, whole, whole.log_probs_K))
    level_log_probs_KL[is_estimate_K] = np.nan
    return Explanation(np.stack(lost, axis=1), level_log_probs_KL)


def surviving_prefixes(found: SearchOutput, trie: SemanticIdTrie, user: int) -> list[IntArray]:
    """Returns the prefixes of one user's beams at each depth 1..L, without those that were pruned.

    Args:
        found: What a search has found, with its prefixes.
        trie: The trie that was searched.
        user: The number of the user in the search.

    Returns:
        For each depth, the prefixes, most probable first, int64 of shape (at most the beam width, depth). An empty list
        if the search graph does not return prefixes.
    """
    if found.prefix_nodes_BLK is None or found.prefix_log_probs_BLK is None:
        return []
    beams, size, levels = [], trie.codebook_size, trie.num_levels
    first_leaves = [*trie.leaf_start[1:], None]  # the leaves of depth L are their own
    for depth, (starts, nodes_K, log_probs_K) in enumerate(
        zip(first_leaves, found.prefix_nodes_BLK[user], found.prefix_log_probs_BLK[user], strict=True), start=1
    ):
        nodes = nodes_K[log_probs_K > -np.inf]
        leaves = nodes if starts is None else starts[nodes]
        beams.append(unpack_codes(trie.keys_N[leaves] // size ** (levels - depth), size, depth))
    return beams


def _of_places(places_K: IntArray, ranking: Ranking, values_K: FloatArray) -> FloatArray:
    """The values of the items of a ranking, in the order of `places_K`, which are the same items."""
    order_K = np.argsort(ranking.leaves_K)
    values: FloatArray = values_K[order_K[np.searchsorted(ranking.leaves_K, places_K, sorter=order_K)]]
    return values


def _differs(one_K: FloatArray, other_K: FloatArray) -> BoolArray:
    differs_K: BoolArray = ~(np.abs(one_K - other_K) <= TOLERANCE * np.maximum(1, np.abs(other_K)))
    return differs_K


def _by_level(found: SearchOutput, trie: SemanticIdTrie, places_K: IntArray) -> FloatArray:
    """The log-probability of each code of items, from the beams of the first user, which end at these items.

    An item without a leaf, and every item if the search returned no prefixes, has NaN.
    """
    log_probs_KL = np.full((len(places_K), trie.num_levels), np.nan, dtype=np.float32)
    if found.prefix_nodes_BLK is None or found.prefix_log_probs_BLK is None:
        return log_probs_KL
    is_leaf_K = places_K < trie.num_leaves
    leaves = places_K[is_leaf_K]
    nodes_by_depth = [*trie.paths_LN[1:, leaves], leaves]
    for level, nodes in enumerate(nodes_by_depth):
        is_beam = found.prefix_nodes_BLK[0, level] == nodes[:, None]
        # Only the first match counts: pruned beams come last, and their nodes are arbitrary.
        log_probs_KL[is_leaf_K, level] = found.prefix_log_probs_BLK[0, level, is_beam.argmax(axis=1)]
    return np.diff(log_probs_KL, axis=1, prepend=0)
