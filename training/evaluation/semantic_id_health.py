"""Measures the quality of semantic IDs, and stops the run if too many items have the same or similar IDs.

Shapes: N items, L levels, V codes per level, E feature columns, P pairs of items.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass as settings_dataclass
from sklearn.preprocessing import normalize

from rqrec.models.array_types import IntArray
from rqrec.models.errors import UserError
from rqrec.models.trie.semantic_ids import collision_ratio
from rqrec.training.data.splits import Sequences
from rqrec.training.runtime.config import Share

ROOM = 10  # combinations of codes per item; with fewer, collisions come from the codebooks' sizes


class CollapsedSemanticIds(UserError):
    """Raised when too many items have similar semantic IDs. The message says what to change."""


@settings_dataclass(frozen=True)
class SemanticIdSettings:
    """Limits for the quality of semantic IDs. Beyond a limit the IDs count as collapsed, and the run stops.

    Attributes:
        min_perplexity_share: Smallest allowed perplexity of the codes of the first level, as a share in [0, 1] of the
            largest possible one. That is the codebook size, or less if many items have equal features, because these
            always get equal codes. Later levels have no limit, because in a small catalogue they have few items left
            to separate.
        max_collision_ratio: Largest allowed share of items that have the same codes as another item, in [0, 1]. The
            codes of the collision level are not counted.
    """

    min_perplexity_share: Share = 0.05
    max_collision_ratio: Share = 0.6


def codebook_figures(codes_NL: NDArray[np.integer], *, codebook_size: int) -> dict[str, float]:
    """Measures how evenly items use the codes of each level, and how many items have the same codes.

    Args:
        codes_NL: The codes that the RQ-VAE gives each item, without the collision level; by item_index, each in [0, V).
        codebook_size: V, the number of codes per level.

    Returns:
        `collision_ratio`, the share of items that have the same codes as another item. And for each level:
        `usage_<level>`, the share of codes that are used; `dead_codes_<level>`, the number of unused codes;
        `perplexity_<level>`, the exponential of the entropy of the codes (V if all are used equally often);
        `gini_<level>`, the Gini coefficient of how often the codes are used (0 if all are used equally often).
    """
    figures: dict[str, float] = {}
    for level, codes_N in enumerate(codes_NL.T):
        share_V = np.bincount(codes_N, minlength=codebook_size) / len(codes_N)
        num_used = int(np.count_nonzero(share_V))
        figures[f"usage_{level}"] = num_used / codebook_size
        figures[f"dead_codes_{level}"] = float(codebook_size - num_used)
        figures[f"perplexity_{level}"] = perplexity_of(share_V)
        figures[f"gini_{level}"] = float(1 - 2 * np.cumsum(np.sort(share_V)).mean() + 1 / codebook_size)
    figures["collision_ratio"] = collision_ratio(codes_NL, codebook_size=codebook_size)
    return figures


def neighbourhood_figures(
    codes_NL: NDArray[np.integer], features_NE: NDArray[np.float32], train: Sequences
) -> dict[str, float]:
    """Measures whether items with a common code prefix belong together, in users' sequences and by content.

    Args:
        codes_NL: The codes that the RQ-VAE gives each item, without the collision level; by item_index, each in [0, V).
        features_NE: Item features by item_index, shape (N, E).
        train: Training sequences of item_index.

    Returns:
        For each level, three metrics about pairs of items whose codes are equal up to this level.
        `together_<level>`: of all pairs of consecutive items in the sequences, the share with equal codes.
        `together_by_chance_<level>`: the same share after the second items of these pairs were shuffled.
        `similarity_<level>`: the mean cosine of the features of two items with equal codes. A metric is 0 if there are
        no pairs.
    """
    left_P, right_P = train.pairs(1)
    shuffled_P = np.random.default_rng(0).permutation(right_P)
    unit_NE = normalize(features_NE)
    figures = {}
    for level in range(codes_NL.shape[1]):
        _, prefix_N = np.unique(codes_NL[:, : level + 1], axis=0, return_inverse=True)
        figures[f"together_{level}"] = _share(prefix_N[left_P] == prefix_N[right_P])
        figures[f"together_by_chance_{level}"] = _share(prefix_N[left_P] == prefix_N[shuffled_P])
        counts = np.bincount(prefix_N)
        sums = np.zeros((len(counts), unit_NE.shape[1]), dtype=np.float32)
        np.add.at(sums, prefix_N, unit_NE)
        pairs = (counts * (counts - 1)).sum()
        cosines = np.square(sums).sum() - np.square(unit_NE).sum()
        figures[f"similarity_{level}"] = float(cosines / pairs) if pairs else 0.0
    return figures


def _share(is_true_P: NDArray[np.bool_]) -> float:
    return float(is_true_P.mean()) if len(is_true_P) else 0.0


def check_not_collapsed(
    figures: Mapping[str, float],
    group_N: IntArray,
    *,
    codebook_size: int,
    num_levels: int,
    settings: SemanticIdSettings,
) -> None:
    """Raises an error if the semantic IDs have collapsed, which means that too many items have equal or similar IDs.

    Args:
        figures: The metrics that `codebook_figures` returned.
        group_N: A group number for each item, by item_index; items with equal features have the same number. See
            `groups_of_equal_items`.
        codebook_size: V, the number of codes per level.
        num_levels: L, the number of levels without the collision level.
        settings: The limits.

    Raises:
        CollapsedSemanticIds: If the first level separates too few items, or too many items have the same codes.
    """
    sizes = np.bincount(group_N)
    # No level can tell apart more than the features do.
    separable = min(codebook_size, perplexity_of(sizes / len(group_N)))
    least, perplexity = settings.min_perplexity_share * separable, figures["perplexity_0"]
    if perplexity < least:
        raise CollapsedSemanticIds(
            f"the semantic IDs have collapsed: the first level must have a perplexity of at least {least:.1f} of "
            f"{separable:.0f} codes (SemanticIdSettings.min_perplexity_share), got {perplexity:.1f}: "
            f"{_TRAINING_REMEDY}"
        )
    if figures["collision_ratio"] > settings.max_collision_ratio:
        share_of_equal = float((sizes[group_N] > 1).mean())
        raise CollapsedSemanticIds(
            f"the semantic IDs have collapsed: at most {settings.max_collision_ratio:.0%} of the items may have the "
            "same codes as another item (SemanticIdSettings.max_collision_ratio), got "
            f"{figures['collision_ratio']:.0%}: {_cause(len(group_N), share_of_equal, codebook_size, num_levels)}"
        )


def perplexity_of(shares: NDArray[np.floating]) -> float:
    """Returns the perplexity of a distribution: the exponential of its entropy. It is n for n equally frequent values.

    >>> perplexity_of(np.array([0.5, 0.5, 0.0]))
    2.0

    Args:
        shares: Probabilities that sum to 1.
    """
    used = shares[shares > 0]
    return float(np.exp(-(used * np.log(used)).sum()))


_TRAINING_REMEDY = "check the features, and RqVaeSettings.learning_rate, mode and commitment_weight"


def _cause(num_items: int, share_of_equal: float, codebook_size: int, num_levels: int) -> str:
    """Names the most likely cause of collisions, with its remedy."""
    if share_of_equal > 0.5:
        return f"{share_of_equal:.0%} of the items have the same features as another item: add attributes that differ"
    combinations = codebook_size**num_levels
    if combinations < ROOM * num_items:
        return (
            f"{num_levels} levels of {codebook_size} codes have {combinations} combinations for {num_items} items: "
            "raise RqVaeSettings.codebook_size or num_levels, or set them to 'auto'"
        )
    return _TRAINING_REMEDY
