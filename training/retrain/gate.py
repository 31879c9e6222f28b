"""The gate: tells whether the semantic IDs still fit the catalogue, or a full training is due.

A retraining keeps the tokenizer, so the IDs of new items are only as good as the tokenizer fits them.

Shapes: N items, M new items, X old items to compare with, L levels.
"""

from dataclasses import dataclass

import numpy as np

from rqrec.models.array_types import FloatArray, IntArray
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.items.content_neighbours import content_of
from rqrec.models.trie.trie import pack_codes
from rqrec.training.features.features import Features
from rqrec.training.retrain.settings import RetrainSettings
from rqrec.training.tokenize_items import SemanticIds

NEAREST = 10  # items by content whose codes are compared
SAMPLED = 2000  # items of which neighbours are looked up, and items to compare with: 10 times as many
FEW = 20  # with fewer new items, only their share counts


@dataclass(frozen=True)
class Check:
    """One figure of the gate and its limit.

    Attributes:
        name: What is measured.
        value: The figure.
        limit: A full training is due beyond this.
        at_least: Whether the figure must be at least the limit; else at most.
    """

    name: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def is_passed(self) -> bool:
        """Whether the figure is within its limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        bound = "at least" if self.at_least else "at most"
        verdict = "" if self.is_passed else " - a full training is due"
        return f"{self.name}: {self.value:.1%}, {bound} {self.limit:.1%}{verdict}"


def check_ids(parent: Bundle, features: Features, ids: SemanticIds, settings: RetrainSettings) -> list[Check]:
    """Measures how well the semantic IDs fit the items that are newer than the tokenizer.

    Args:
        parent: The bundle from which the retraining goes on.
        features: The features of all items.
        ids: The semantic IDs of all items.
        settings: The limits.

    Returns:
        The share of new items; and, unless there are fewer than `FEW`, the share of them that have the codes of another
        item, and how often their nearest items by content share their first code, beside the same for old items.
    """
    num_items, num_old = len(ids.codes_NL), parent.manifest.num_first_items or parent.manifest.num_items
    num_new = num_items - num_old
    checks = [Check("items newer than the tokenizer", num_new / num_items, settings.max_new_items)]
    if num_new < FEW:
        return checks
    codes_NL = ids.codes_NL[:, :-1]
    _, group_N, counts = np.unique(pack_codes(codes_NL, ids.codebook_size), return_inverse=True, return_counts=True)
    collisions = float((counts[group_N[num_old:]] > 1).mean())
    agreement = _agreement(content_of(features.features_NE, parent.projection_EP), codes_NL[:, 0], num_old)
    return [
        *checks,
        Check("new items with the codes of another item", collisions, settings.max_new_collisions),
        Check(
            "nearest items by content with the first code of a new item, beside old items",
            agreement,
            settings.min_agreement,
            at_least=True,
        ),
    ]


def _agreement(contents_NP: FloatArray, first_code_N: IntArray, num_old: int) -> float:
    """Returns how often the nearest old items share the first code of a new item, over the same of an old item."""
    rng = np.random.default_rng(0)
    old = rng.permutation(num_old)[: 10 * SAMPLED]
    new = num_old + rng.permutation(len(contents_NP) - num_old)[:SAMPLED]
    of_old = _shared(contents_NP, first_code_N, old[:SAMPLED], old)
    return _shared(contents_NP, first_code_N, new, old) / of_old if of_old else 1.0


def _shared(contents_NP: FloatArray, first_code_N: IntArray, asked_M: IntArray, compared_X: IntArray) -> float:
    """Returns the mean share of the nearest of some items that have the first code of an asked item."""
    cosines_MX = contents_NP[asked_M] @ contents_NP[compared_X].T
    cosines_MX[asked_M[:, None] == compared_X] = -np.inf  # not the item itself
    count = min(NEAREST, len(compared_X) - 1)
    nearest_MY = compared_X[np.argpartition(-cosines_MX, count, axis=1)[:, :count]]
    return float((first_code_N[nearest_MY] == first_code_N[asked_M][:, None]).mean())
