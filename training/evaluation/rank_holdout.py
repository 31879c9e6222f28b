"""Computes the recommendation lists of held-out users, with the recommender that the service uses.

Shapes: U users, K list length.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.history.transitions import is_in_session
from rqrec.models.search.ranking import Ranking
from rqrec.models.search.recommender import Recommender
from rqrec.training.data.splits import Holdout
from rqrec.training.runtime.progress import progress

USERS_PER_BATCH = 128
NOTHING = -1


def rank_holdout(
    recommender: Recommender,
    holdout: Holdout,
    *,
    k: int,
    beam_width: int,
    eligibility: Eligibility | None = None,
    reserved: int = 0,
    name: str = "ranking",
    exclude_history: bool = True,
    disliked_types: Sequence[int] = (),
    times_known: bool = False,
    observe: Callable[[int, Ranking], None] | None = None,
) -> NDArray[np.int64]:
    """Computes the recommendation list of every held-out user.

    Args:
        recommender: The recommender to measure.
        holdout: The users and their histories of item_index.
        k: List length K.
        beam_width: Beam width of the search.
        eligibility: The items that may be recommended; None to allow all items.
        reserved: How many of the K items of a list must be items without training interactions, in [0, k]. If fewer
            such items may be recommended, the list has all of them.
        name: Name of this work in the progress display.
        exclude_history: Whether lists leave out the items of the user's history.
        disliked_types: The numbers of the event types that are dislikes. Lists always leave out items whose last event
            in the history is a dislike.
        times_known: Whether the recommender knows which requests belong to the session of the last history item. A
            request is made at the time of its target. Ignored if the data has no times.
        observe: Called with the row of each user in the holdout and the user's list with its probabilities; None for no
            call.

    Returns:
        int64 item_index of shape (U, K), best first; a shorter list is padded with -1.
    """
    lists_UK = np.full((len(holdout), k), NOTHING, dtype=np.int64)
    leaf_of_item_N = recommender.trie.leaf_of_row_N
    in_session_U = _in_session(holdout) if times_known else np.zeros(len(holdout), dtype=np.bool_)
    for users in user_batches(holdout, name):
        histories = [leaf_of_item_N[holdout.histories[user]] for user in users]
        types = [holdout.histories.types_of(user) for user in users] if holdout.histories.types_I is not None else None
        found = recommender.recommend(
            histories,
            types=types,
            in_session=in_session_U[users].tolist(),
            k=k,
            beam_width=beam_width,
            excluded=histories if exclude_history else last_disliked(histories, types, disliked_types),
            eligibility=eligibility,
            reserved=[reserved] * len(users),
        )
        for user, ranking in zip(users, found, strict=True):
            lists_UK[user, : len(ranking.leaves_K)] = recommender.trie.row_of_leaf_N[ranking.leaves_K]
            if observe is not None:
                observe(int(user), ranking)
    return lists_UK


def _in_session(holdout: Holdout) -> NDArray[np.bool_]:
    """Returns whether each user chose the target in the session of the last history item."""
    times_I, times_U = holdout.histories.times_I, holdout.times_U
    if times_I is None or times_U is None:
        return np.zeros(len(holdout), dtype=np.bool_)
    last_times_U = times_I[holdout.histories.offsets_U[1:] - 1]
    return np.array([is_in_session(*times) for times in zip(last_times_U, times_U, strict=True)], dtype=np.bool_)


def last_disliked(
    histories: Sequence[NDArray[np.int64]], types: Sequence[NDArray[np.int64]] | None, disliked_types: Sequence[int]
) -> list[NDArray[np.int64]]:
    """Finds, for each user, the items whose last event in the user's history is a dislike.

    >>> last_disliked([np.array([7, 8, 7])], [np.array([1, 2, 2])], [1]), last_disliked([np.array([7])], None, [1])
    ([array([], dtype=int64)], [array([], dtype=int64)])

    Args:
        histories: The items of each user, oldest first.
        types: The number of the event type of each history item; None if all are unknown.
        disliked_types: The numbers of the event types that are dislikes.

    Returns:
        For each user, the items that were found, in ascending order.
    """
    nothing = np.empty(0, dtype=np.int64)
    if types is None or not disliked_types:
        return [nothing] * len(histories)
    found = []
    for history, types_of in zip(histories, types, strict=True):
        # Read backwards, so that the first occurrence of an item is its last event.
        items, first = np.unique(history[::-1], return_index=True)
        found.append(items[np.isin(types_of[::-1][first], disliked_types)])
    return found


def user_batches(holdout: Holdout, name: str = "ranking") -> Iterator[NDArray[np.int64]]:
    """Yields batches of users, as row numbers in the holdout, and shows the progress.

    Users with histories of similar length share a batch.

    Args:
        holdout: The users and their histories.
        name: Name of the work on the batches in the progress display.
    """
    by_length = np.argsort(holdout.histories.lengths_U, kind="stable")
    with progress(name, total=len(by_length), unit="users") as task:
        for begin in range(0, len(by_length), USERS_PER_BATCH):
            yield by_length[begin : begin + USERS_PER_BATCH]
            task.advance(USERS_PER_BATCH)
