"""Counts how often and how recently users chose the items of their histories.

Shapes: B users, I history items of all users, P pairs of a user and an own item.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rqrec.models.array_types import BoolArray, FloatArray, IntArray

USER_BITS, PLACE = 32, 0xFFFFFFFF  # a key is user * 2^32 + place


class OwnChoices(NamedTuple):
    """The different items in the histories of users. Entry p of each array is for one pair of a user and an item.

    Attributes:
        keys_P: The pair as one integer, user number * 2^32 + place of the item; int64, ascending. A place is a leaf of
            the trie, or a number after all leaves for an item that was added later.
        counts_P: How often the user chose the item, int64.
        ages_P: How many choices the user made after the last choice of the item, int64.
    """

    keys_P: IntArray
    counts_P: IntArray
    ages_P: IntArray

    @classmethod
    def none(cls) -> "OwnChoices":
        """Returns an object without pairs."""
        return cls(*(np.empty(0, dtype=np.int64) for _ in range(3)))

    @classmethod
    def from_histories(cls, histories: Sequence[IntArray]) -> "OwnChoices":
        """Counts how often and how recently each user chose each item.

        The argument has one array for each user: the places (item numbers) of the history items, oldest first, int64.

        >>> OwnChoices.from_histories([np.array([5, 7, 5])])
        OwnChoices(keys_P=array([5, 7]), counts_P=array([2, 1]), ages_P=array([0, 1]))
        """
        ends_B = np.cumsum([len(history) for history in histories])
        users_I = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
        keys_I = (users_I << USER_BITS) | np.concatenate(histories)
        # Read backwards, so that the first occurrence of a pair is the last choice.
        keys_P, backwards_P, counts_P = np.unique(keys_I[::-1], return_index=True, return_counts=True)
        return cls(keys_P, counts_P, backwards_P - (len(keys_I) - ends_B[keys_P >> USER_BITS]))

    def best(self, bonus_P: FloatArray, most: int) -> "OwnChoices":
        """Returns only the items with the largest bonus of each user. Of equal bonuses, the item chosen last wins.

        Args:
            bonus_P: The bonus of each pair of a user and an item, which is added to the item's score because the user
                chose the item before; float32.
            most: The largest number of items of each user in the result.
        """
        users_P = self.keys_P >> USER_BITS
        if np.bincount(users_P).max(initial=0) <= most:
            return self
        order_P = np.lexsort((self.ages_P, -bonus_P, users_P))
        rank_P = np.empty_like(order_P)
        rank_P[order_P] = np.arange(len(users_P)) - np.searchsorted(users_P, users_P)
        return self.select(rank_P < most)

    def select(self, keep_P: BoolArray) -> "OwnChoices":
        """Returns only the pairs of a user and an item where `keep_P` is true."""
        return OwnChoices(*(array[keep_P] for array in self))
