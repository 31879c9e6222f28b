"""Makes the explanations of a list: numbers of the search, with ids, shared attributes and the meaning of codes.

Shapes: K items of the list, L levels, T history items that the search read.
"""

import math
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import orjson

from rqrec.models.array_types import IntArray
from rqrec.models.bundle.meanings import Meanings
from rqrec.models.search.ranking import Explanation
from rqrec.service.catalogue.item import Item
from rqrec.service.catalogue.views.meaning import meanings_of

MOST_SHARED = 20  # values of one attribute of an item that are compared
LONGEST_SHARED = 256  # characters of a value that is compared; the answer repeats it for each history item
Values = dict[str, dict[Any, None]]  # the values of each attribute, in their order


def explanations(
    explanation: Explanation | None,
    history: Sequence[Item],
    items: Sequence[Item],
    codes_KL: IntArray,
    known: Meanings | None,
) -> list[dict[str, Any]]:
    """Returns the fields of `service.contract.explanation.Explanation` for each item of a list.

    Args:
        explanation: What the searches found out; None for a list without a search, which has no contributions.
        history: The history items that the search read, oldest first.
        items: The items of the list.
        codes_KL: Their semantic IDs.
        known: The meaning of the codes; None if the model's bundle does not say it.
    """
    levels = codes_KL.shape[1]
    meanings = [meanings_of(known, codes_KL[:, : level + 1]) for level in range(levels)]
    log_probs = np.full(codes_KL.shape, np.nan) if explanation is None else explanation.level_log_probs_KL
    contributions = [[] for _ in items] if explanation is None else explanation.contributions_KT.tolist()
    of_history = [_values(item) for item in history]
    return [
        {
            "history": _contributions(history, of_history, added, _values(item)),
            "levels": [
                {"code": code, "log_prob": None if math.isnan(log_prob) else log_prob, "meaning": meanings[level][row]}
                for level, (code, log_prob) in enumerate(zip(codes, by_level, strict=True))
            ],
        }
        for row, (item, codes, by_level, added) in enumerate(
            zip(items, codes_KL.tolist(), log_probs.tolist(), contributions, strict=True)
        )
    ]


def _contributions(
    history: Sequence[Item], of_history: Sequence[Values], added: Sequence[float], values: Values
) -> list[dict[str, Any]]:
    """What each history item added to the score of an item with these attributes, the largest contribution first."""
    rows = [
        {"item_id": item.item_id, "contribution": contribution, "shared": _shared(theirs, values)}
        for item, theirs, contribution in zip(history, of_history, added, strict=True)
    ]
    return sorted(rows, key=lambda row: -row["contribution"])


def _values(item: Item) -> Values:
    """The first values of each attribute of an item that are no objects."""
    values: Values = {}
    for name, value in orjson.loads(item.payload).items():
        several = value if isinstance(value, list) else [value]
        single = (
            one
            for one in several
            if isinstance(one, int | float) or (isinstance(one, str) and len(one) <= LONGEST_SHARED)
        )
        if chosen := dict.fromkeys(islice(single, MOST_SHARED)):
            values[name] = chosen
    return values


def _shared(one: Values, other: Values) -> dict[str, list[Any]]:
    """The values that two items have in common, by attribute."""
    both = {name: [value for value in values if value in other[name]] for name, values in one.items() if name in other}
    return {name: values for name, values in both.items() if values}
