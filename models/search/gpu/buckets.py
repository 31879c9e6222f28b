"""Pads the inputs of a search to a few shapes, because a GPU prepares kernels and CUDA graphs once for each shape.

Shapes: B users, T history items, X exclusions of a user.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FEWEST_EXCLUDED = 16


def pad_to_bucket(request: dict[str, NDArray[Any]], *, max_history: int) -> dict[str, NDArray[Any]]:
    """Pads the inputs of a search with extra users, exclusions and history items, so that only a few shapes occur.

    A GPU prepares its kernels again for each new shape. The users of the request come first in the result, and the
    search finds the same items for them as without padding. The number of users becomes a power of two. The number of
    exclusions of each user becomes a power of two too, at least 16. The length of histories becomes `max_history`.

    Args:
        request: The inputs of the search graph by name, from `models.search.onnx_engine.request_inputs`.
        max_history: The length of the padded histories, in items.

    Returns:
        The padded inputs by name.
    """
    padded = dict(request)
    users, length = request["history_BT"].shape
    more_users = _power_of_two(users) - users
    for name in {"history_BT", "types_BT"} & set(request):
        padded[name] = np.pad(request[name], ((0, more_users), (0, max(max_history - length, 0))))
    if "in_session_B" in request:  # some bundles have a graph without it
        padded["in_session_B"] = np.pad(request["in_session_B"], (0, more_users))
    padded["lengths_B"] = np.pad(request["lengths_B"], (0, more_users), constant_values=1)
    excluded = request["excluded_BX"].shape[1]
    more_excluded = max(_power_of_two(excluded), FEWEST_EXCLUDED) - excluded
    padded["excluded_BX"] = np.pad(request["excluded_BX"], ((0, more_users), (0, more_excluded)), constant_values=-1)
    return padded


def _power_of_two(count: int) -> int:
    """The smallest power of two that is at least `count`."""
    return 1 << (count - 1).bit_length()
