"""The learnt bonus of items of the user's own history. It depends on how often and how recently the user chose them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rqrec.models.array_types import FloatArray, IntArray

MOST_COUNTED = 8  # more choices of an item count as this many
AGE_CLASSES = 10  # the last class holds all items of 2^9 - 1 or more later choices


@dataclass(frozen=True)
class OwnItemWeights:
    """The learnt bonus that is added to the score of an item of the user's own history.

    The bonus is the sum of two weights: one for how often the user chose the item, one for how recently.

    Attributes:
        by_count: Entry i is the weight of an item that the user chose i + 1 times. The last entry is for `MOST_COUNTED`
            times or more.
        by_age: Entry i is the weight of an item of age class i (see `age_classes`).
    """

    by_count: tuple[float, ...]
    by_age: tuple[float, ...]

    @classmethod
    def from_fields(cls, fields: Mapping[str, Sequence[float]]) -> "OwnItemWeights":
        """Makes the weights from a dictionary of the fields, as `dataclasses.asdict` or JSON gives it.

        Args:
            fields: The lists `by_count` and `by_age`, by name.

        Raises:
            ValueError: If the number of weights is wrong or a weight is not finite.
        """
        weights = cls(*(tuple(map(float, fields.get(name, ()))) for name in ("by_count", "by_age")))
        sizes = len(weights.by_count), len(weights.by_age)
        if sizes != (MOST_COUNTED, AGE_CLASSES) or not np.isfinite([*weights.by_count, *weights.by_age]).all():
            raise ValueError(f"expected {MOST_COUNTED} and {AGE_CLASSES} finite weights of own items, got {sizes}")
        return weights

    def bonus(self, counts: IntArray, ages: IntArray) -> FloatArray:
        """Returns the bonus of each item, float32; 0 for an item that the user has not chosen.

        Args:
            counts: How often the user chose each item, integer, at least 0.
            ages: How many choices the user made after the last choice of each item, integer, in the shape of `counts`.
        """
        by_count = np.array([0.0, *self.by_count], dtype=np.float32)[np.minimum(counts, MOST_COUNTED)]
        by_age = np.array(self.by_age, dtype=np.float32)[age_classes(ages)]
        return np.asarray(by_count + np.where(counts > 0, by_age, np.float32(0)))


def age_classes(ages: IntArray) -> IntArray:
    """Returns the age class of each item: the integer part of log2(1 + age), at most `AGE_CLASSES` - 1.

    The age of an item is the number of choices that the user made after the last choice of the item.

    >>> age_classes(np.array([0, 1, 2, 3, 1000])).tolist()
    [0, 1, 1, 2, 9]
    """
    return np.asarray(np.minimum(np.log2(1.0 + ages).astype(np.int64), AGE_CLASSES - 1))
