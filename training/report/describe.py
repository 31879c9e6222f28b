"""Describes groups of items by what sets them apart: labels and words that are commoner in the group than elsewhere.

Shapes: N items, G items of a group.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import log, sqrt

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rqrec.models.tokenizer.featurizer import Featurizer, Source, as_written, label_marks

WORD = re.compile(r"[^\W\d_]{2,}")
MAX_READ = 20_000  # items that say what is common everywhere
MAX_GROUP = 2000
LEAST_ITEMS, LEAST_DEVIATIONS = 2, 3.0  # a trait that fewer have, or that chance explains, is none


@dataclass(frozen=True)
class Trait:
    """A label or word that sets a group apart.

    Attributes:
        text: The label, or the word.
        share: The share of the group's items that have it.
        share_elsewhere: The share of all items that have it.
    """

    text: str
    share: float
    share_elsewhere: float

    def deviations(self, size: int) -> float:
        """Returns how many standard deviations of chance the share is above that of all items.

        Args:
            size: Number of items of the group.
        """
        variance = self.share_elsewhere * (1 - self.share_elsewhere) / size
        return (self.share - self.share_elsewhere) / sqrt(max(variance, 1e-12))


@dataclass(frozen=True)
class Describer:
    """Finds what sets groups of items apart.

    Attributes:
        items: The attributes of all items.
        featurizer: Says which attributes are labels and which are words.
    """

    items: pl.DataFrame
    featurizer: Featurizer

    def labels(self, rows_G: NDArray[np.int64], count: int) -> list[Trait]:
        """Returns the labels that set a group apart, the most telling first.

        Args:
            rows_G: The rows of the group's items, int64.
            count: Largest number of labels.
        """
        return self._telling(self._label_counts(rows_G[:MAX_GROUP]), self._common_labels, rows_G, count)

    def words(self, rows_G: NDArray[np.int64], count: int) -> list[Trait]:
        """Returns the words of names and texts that set a group apart, the most telling first.

        Args:
            rows_G: The rows of the group's items, int64.
            count: Largest number of words.
        """
        return self._telling(self._word_counts(rows_G[:MAX_GROUP]), self._common_words, rows_G, count)

    def _telling(
        self, counts: Mapping[str, int], common: Mapping[str, int], rows_G: NDArray[np.int64], count: int
    ) -> list[Trait]:
        """Sorts traits by the share of the group times the logarithm of how much commoner they are than elsewhere."""
        size, read = min(len(rows_G), MAX_GROUP), len(self._read_rows)
        traits = [
            Trait(text, number / size, max(common.get(text, 0), 1) / read)
            for text, number in counts.items()
            if number >= min(LEAST_ITEMS, size)
        ]
        telling = [one for one in traits if one.deviations(size) >= LEAST_DEVIATIONS]
        return sorted(telling, key=lambda one: (-one.share * log(one.share / one.share_elsewhere), one.text))[:count]

    @cached_property
    def _read_rows(self) -> NDArray[np.int64]:
        return np.sort(np.random.default_rng(0).permutation(len(self.items))[:MAX_READ])

    @cached_property
    def _common_labels(self) -> Counter[str]:
        return self._label_counts(self._read_rows)

    @cached_property
    def _common_words(self) -> Counter[str]:
        return self._word_counts(self._read_rows)

    def _label_counts(self, rows: NDArray[np.int64]) -> Counter[str]:
        counts, chosen = Counter[str](), self.items[rows.tolist()]
        for block in self.featurizer.blocks:
            if block.source is Source.LABELS:
                counts.update(label_marks(chosen[block.name])["label"].to_list())
            elif block.source is Source.FLAG:
                counts[block.name] += int(chosen[block.name].fill_null(value=False).sum())
        return counts

    def _word_counts(self, rows: NDArray[np.int64]) -> Counter[str]:
        labels = {block.name for block in self.featurizer.blocks if block.source is Source.LABELS}
        chosen = self.items[rows.tolist()]
        names = [name for name in self.featurizer.text_attributes if name not in labels]
        counts = Counter[str]()
        for texts in zip(*(_texts(chosen[name]) for name in names), strict=True):
            counts.update({word for text in texts for word in WORD.findall(text.lower())})
        return counts


def _texts(column: pl.Series) -> Iterable[str]:
    joined = column.list.join(" ", ignore_nulls=True) if isinstance(column.dtype, pl.List) else as_written(column)
    return joined.fill_null("").to_list()
