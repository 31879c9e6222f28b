"""What a recommendation request costs, in searches of the default beam width.

A costly request takes more places in the queue of waiting requests.
"""

import math

from rqrec.service.contract.recommend import RecommendRequest
from rqrec.service.list_control.controlled_list import beam_width_of

USUAL_HISTORY = 20  # items in the history of the search that has the cost 1
NARROW_SEARCHES = 5  # cost as much as this search, by the CPU times of benchmarks.explain, for lists of 10 as of 100
SEARCHED_ITEMS = 40  # reading so many history items costs as much as the rest of a narrow search


def search_weight(request: RecommendRequest, default_width: int) -> int:
    """Returns the cost of one search of a request: its beam width in multiples of the default one, rounded up.

    Args:
        request: The request.
        default_width: The beam width of a request that sets none.

    Returns:
        The cost, at least 1.
    """
    return max(math.ceil(beam_width_of(request, default_width) / default_width), 1)


def explanation_weight(request: RecommendRequest, default_width: int, max_history: int) -> int:
    """Returns the cost of a request's explanation, besides its search; 0 if it asks for none.

    The explanation scores the k items of the list for T + 1 histories, where T is the number of history items that the
    model reads. These are narrow searches in one batch, which cost less than searches of the default beam width. Each
    reads the whole history, so the cost of all grows with the square of T.

    Args:
        request: The request. If it names a user, whose stored history is not read yet, the history counts as long.
        default_width: The beam width of a request that sets none.
        max_history: The largest number of history items that the model reads.
    """
    if not request.explain:
        return 0
    length = max_history if request.user_id is not None else min(len(request.history), max_history)
    narrow = (SEARCHED_ITEMS + length) / (SEARCHED_ITEMS + USUAL_HISTORY) / NARROW_SEARCHES
    return math.ceil((length + 1) * narrow) * math.ceil(request.k / default_width)
