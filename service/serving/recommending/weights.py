"""What a recommendation request costs, in searches of the default beam width.

A costly request takes more places in the queue of waiting requests.
"""

import math

from rqrec.service.contract.recommend import RecommendRequest
from rqrec.service.list_control.controlled_list import beam_width_of
from rqrec.service.search.candidate_search import EXPLAINED_AT_ONCE

# The CPU time of one search of an explanation, in searches of the default beam width after 20 items: of the search, of
# each history item that it reads, and of each item of the list.
NARROW_SEARCH, READ_ITEM, LISTED_ITEM = 0.12, 0.0037, 0.0045


def search_weight(request: RecommendRequest, default_width: int) -> int:
    """Returns the cost of one search of a request: its beam width in multiples of the default one, rounded up.

    Args:
        request: The request.
        default_width: The beam width of a request that sets none.

    Returns:
        The cost, at least 1.
    """
    return max(math.ceil(beam_width_of(request, default_width) / default_width), 1)


def explanation_weight(request: RecommendRequest, max_history: int) -> int:
    """Returns the cost of a request's explanation, besides its search; 0 if it asks for none.

    The explanation scores the k items of the list for T + 1 histories, where T is the number of history items that the
    model reads. A long history is explained in parts, one after the other. The cost is that of one part.

    Args:
        request: The request. If it names a user, whose stored history is not read yet, the history counts as long.
        max_history: The largest number of history items that the model reads.
    """
    if not request.explain:
        return 0
    length = max_history if request.user_id is not None else min(len(request.history), max_history)
    searches = 1 + min(length, EXPLAINED_AT_ONCE)
    return math.ceil(searches * (NARROW_SEARCH + READ_ITEM * length + LISTED_ITEM * request.k))
