"""Pads the inputs of a search to few different shapes, for a GPU: kernels and CUDA graphs are prepared once a shape.

Shapes: B users, T history items, X exclusions of a user.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FEWEST_EXCLUDED = 16


def pad_to_bucket(request: dict[str, NDArray[Any]], *, max_history: int) -> dict[str, NDArray[Any]]:
    """Pads a request's inputs; the answers of the first B users are those of the request itself.

    Users are filled up to a power of two, histories to the longest that is read, exclusions to a power of two.

    Args:
        request: As made by `models.search.onnx_engine.request_inputs`.
        max_history: T to pad to.
    """
    padded = dict(request)
    users, length = request["history_BT"].shape
    more_users = _power_of_two(users) - users
    padded["history_BT"] = np.pad(request["history_BT"], ((0, more_users), (0, max(max_history - length, 0))))
    padded["lengths_B"] = np.pad(request["lengths_B"], (0, more_users), constant_values=1)
    excluded = request["excluded_BX"].shape[1]
    more_excluded = max(_power_of_two(excluded), FEWEST_EXCLUDED) - excluded
    padded["excluded_BX"] = np.pad(request["excluded_BX"], ((0, more_users), (0, more_excluded)), constant_values=-1)
    return padded


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()
