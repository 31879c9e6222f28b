"""The gate: tells whether the semantic IDs still fit the catalogue, or a full training is due.

A retraining keeps the tokenizer, so the IDs of new items are only as good as the tokenizer fits them.

Shapes: N items, X items that are compared, the old ones first, M asked items, Y nearest of these.
"""

from dataclasses import dataclass

import numpy as np

from rqrec.models.array_types import FloatArray, IntArray
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.items.content_neighbours import content_of
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.models.trie.semantic_ids import collision_ratio
from rqrec.training.features.features import Features
from rqrec.training.retrain.settings import AllSettings
from rqrec.training.tokenize_items import SemanticIds

NEAREST = 10  # items by content whose codes are compared
SAMPLED = 2000  # new items whose neighbours are looked up, among 10 times as many old items
FEW = 20  # with fewer new items, their agreement is not measured


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


def check_ids(parent: Bundle, features: Features, ids: SemanticIds, settings: AllSettings) -> list[Check]:
    """Measures how well the semantic IDs fit the items that are newer than the tokenizer.

    Args:
        parent: The bundle from which the retraining goes on.
        features: The features of all items.
        ids: The semantic IDs of all items.
        settings: The limits.

    Returns:
        The share of new items; the share of all items that have the codes of another one; and, unless there are fewer
        than `FEW` new items, how well their first codes agree with their content, beside the same for old items.
    """
    num_items, num_old = len(ids.codes_NL), parent.manifest.num_first_items or parent.manifest.num_items
    collisions = collision_ratio(ids.codes_NL[:, :-1], codebook_size=ids.codebook_size)
    checks = [
        Check("items newer than the tokenizer", (num_items - num_old) / num_items, settings.retrain.max_new_items),
        Check("items with the codes of another item", collisions, settings.semantic_ids.max_collision_ratio),
    ]
    if num_items - num_old >= FEW:
        agreement = _agreement(parent, features.features_NE, num_old)
        name = "agreement of new items' codes with their content, beside old items"
        checks.append(Check(name, agreement, settings.retrain.min_agreement, at_least=True))
    return checks


def _agreement(parent: Bundle, features_NE: FloatArray, num_old: int) -> float:
    """Returns how often the nearest old items by content share the first code of a new item, over that of an old item.

    New items lack some features, such as co-occurrence. So the codes of old items are those that they would get without
    these features.
    """
    rng = np.random.default_rng(0)
    old = rng.permutation(num_old)[: 10 * SAMPLED]
    new = num_old + rng.permutation(len(features_NE) - num_old)[:SAMPLED]
    chosen = np.concatenate([old, new])
    as_new_XE = features_NE[chosen] * parent.featurizer.of_content_E
    first_code_X = ItemTokenizer(parent).codes(np.asarray(as_new_XE, dtype=np.float32))[:, 0]
    contents_XP = content_of(features_NE[chosen], parent.projection_EP)
    of_old = _shared(contents_XP, first_code_X, np.arange(min(len(old), SAMPLED)), len(old))
    of_new = _shared(contents_XP, first_code_X, np.arange(len(old), len(chosen)), len(old))
    return of_new / of_old if of_old else 1.0


def _shared(contents_XP: FloatArray, first_code_X: IntArray, asked_M: IntArray, num_old: int) -> float:
    """Returns the mean share of the nearest old items, which are the first ones, that have an asked item's code."""
    cosines_MX = contents_XP[asked_M] @ contents_XP[:num_old].T
    cosines_MX[asked_M[:, None] == np.arange(num_old)] = -np.inf  # not the item itself
    nearest_MY = np.argsort(-cosines_MX, axis=1)[:, : min(NEAREST, num_old - 1)]
    return float((first_code_X[nearest_MY] == first_code_X[asked_M][:, None]).mean())
