"""Checks whether semantic IDs are usable: figures about them, and a gate that stops training on collapsed ones.

Shapes: N items, L levels, V codes per level, E feature columns, P pairs of items.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass as settings_dataclass
from sklearn.preprocessing import normalize

from rqrec.models.errors import UserError
from rqrec.models.trie.semantic_ids import collision_ratio
from rqrec.training.data.splits import Sequences
from rqrec.training.runtime.config import Share


class CollapsedSemanticIds(UserError):
    """Raised when too many items have similar semantic IDs. The message says what to change."""


@settings_dataclass(frozen=True)
class SemanticIdSettings:
    """Limits at which semantic IDs count as collapsed. No retriever is trained on collapsed ones.

    Attributes:
        min_perplexity_share: Smallest perplexity of the first level, as a share of the codebook size, in [0, 1]. Later
            levels have no limit, because in a small catalogue they have few items left to separate.
        max_collision_ratio: Largest share of items that have the same quantised codes as another item, in [0, 1].
    """

    min_perplexity_share: Share = 0.05
    max_collision_ratio: Share = 0.6


def codebook_figures(codes_NL: NDArray[np.integer], *, codebook_size: int) -> dict[str, float]:
    """Measures how evenly the codebooks are used. The codes are those before collisions are resolved.

    Args:
        codes_NL: Quantised codes by item_index, each in [0, V).
        codebook_size: V.

    Returns:
        `collision_ratio`, the share of items that have the same codes as another item. And for each level:
        `usage_<level>`, the share of codes that are used; `dead_codes_<level>`, the number of unused codes;
        `perplexity_<level>`, the exponential of the entropy of the codes (V if all are used equally often);
        `gini_<level>`, the inequality of their use (0 if all are used equally often).
    """
    figures = {}
    for level, codes_N in enumerate(codes_NL.T):
        share_V = np.bincount(codes_N, minlength=codebook_size) / len(codes_N)
        used = share_V[share_V > 0]
        figures[f"usage_{level}"] = len(used) / codebook_size
        figures[f"dead_codes_{level}"] = float(codebook_size - len(used))
        figures[f"perplexity_{level}"] = float(np.exp(-(used * np.log(used)).sum()))
        figures[f"gini_{level}"] = float(1 - 2 * np.cumsum(np.sort(share_V)).mean() + 1 / codebook_size)
    figures["collision_ratio"] = collision_ratio(codes_NL, codebook_size=codebook_size)
    return figures


def neighbourhood_figures(
    codes_NL: NDArray[np.integer], features_NE: NDArray[np.float32], train: Sequences
) -> dict[str, float]:
    """Measures whether items with a common code prefix belong together, in users' sequences and by content.

    Args:
        codes_NL: Quantised codes by item_index, each in [0, V).
        features_NE: Item features by item_index.
        train: Training sequences of item_index.

    Returns:
        For each level: `together_<level>`, the share of neighbours in the sequences whose codes agree up to this level;
        `together_by_chance_<level>`, the same share after the neighbours are paired at random; and
        `similarity_<level>`, the mean cosine of the features of two items whose codes agree up to this level (0 if
        there are no such items).
    """
    left_P, right_P = train.pairs(1)
    shuffled_P = np.random.default_rng(0).permutation(right_P)
    unit_NE = normalize(features_NE)
    figures = {}
    for level in range(codes_NL.shape[1]):
        _, prefix_N = np.unique(codes_NL[:, : level + 1], axis=0, return_inverse=True)
        figures[f"together_{level}"] = float((prefix_N[left_P] == prefix_N[right_P]).mean())
        figures[f"together_by_chance_{level}"] = float((prefix_N[left_P] == prefix_N[shuffled_P]).mean())
        counts = np.bincount(prefix_N)
        sums = np.zeros((len(counts), unit_NE.shape[1]), dtype=np.float32)
        np.add.at(sums, prefix_N, unit_NE)
        pairs = (counts * (counts - 1)).sum()
        cosines = np.square(sums).sum() - np.square(unit_NE).sum()
        figures[f"similarity_{level}"] = float(cosines / pairs) if pairs else 0.0
    return figures


def check_not_collapsed(figures: Mapping[str, float], *, codebook_size: int, settings: SemanticIdSettings) -> None:
    """Raises an error if the semantic IDs have collapsed.

    Args:
        figures: Figures of `codebook_figures`.
        codebook_size: V.
        settings: The limits.

    Raises:
        CollapsedSemanticIds: If the first level separates too few items, or too many items have the same codes.
    """
    remedy = "check the features, and RqVaeSettings.learning_rate, mode and commitment_weight"
    least, perplexity = settings.min_perplexity_share * codebook_size, figures["perplexity_0"]
    if perplexity < least:
        raise CollapsedSemanticIds(
            f"the semantic IDs have collapsed: the first level must have a perplexity of at least {least:.1f} of "
            f"{codebook_size} codes (SemanticIdSettings.min_perplexity_share), got {perplexity:.1f}: {remedy}"
        )
    if figures["collision_ratio"] > settings.max_collision_ratio:
        raise CollapsedSemanticIds(
            f"the semantic IDs have collapsed: at most {settings.max_collision_ratio:.0%} of the items may have the "
            "same codes as another item (SemanticIdSettings.max_collision_ratio), got "
            f"{figures['collision_ratio']:.0%}: {remedy}, or raise codebook_size"
        )
