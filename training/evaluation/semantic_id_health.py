"""Whether semantic IDs are usable: figures of their codebooks and neighbourhoods, and the gate before stage two.

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
    """Raised when semantic IDs tell items apart too badly to train on; says what to change."""


@settings_dataclass(frozen=True)
class SemanticIdSettings:
    """When semantic IDs count as collapsed, so that no retriever is trained on them.

    Attributes:
        min_perplexity_share: Least perplexity of the first level, as a share of its codes; in a small catalogue the
            levels after it have little left to tell apart.
        max_collision_ratio: Largest share of items that do not have their quantised codes to themselves.
    """

    min_perplexity_share: Share = 0.05
    max_collision_ratio: Share = 0.6


def codebook_figures(codes_NL: NDArray[np.integer], *, codebook_size: int) -> dict[str, float]:
    """How well the codebooks are used, before collisions are resolved.

    Returns:
        For each level `usage_<level>`, the share of codes in use; `dead_codes_<level>`, the number of the others;
        `perplexity_<level>`, the exponential of the entropy of their use (V if all are used alike); `gini_<level>`, how
        unevenly they are used (0 if all alike); and `collision_ratio`, the share of items that do not have their codes
        to themselves.
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
    """Whether items that share a prefix belong together: in the users' sequences, and by content.

    Returns:
        For each level `together_<level>`, the share of neighbours in a training sequence whose codes agree up to that
        level; `together_by_chance_<level>`, the same of the same items paired at random; and `similarity_<level>`, the
        mean cosine of the features of two items that share the prefix (0 where none do).
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
    """Lets usable semantic IDs pass.

    Raises:
        CollapsedSemanticIds: If the first level hardly distinguishes items, or too many items share their codes; says
            what to change.
    """
    remedy = "look at the features, and at RqVaeSettings.learning_rate, mode and commitment_weight"
    least, perplexity = settings.min_perplexity_share * codebook_size, figures["perplexity_0"]
    if perplexity < least:
        raise CollapsedSemanticIds(
            f"the semantic IDs have collapsed: the first level has perplexity {perplexity:.1f}, expected at least "
            f"{least:.1f} of {codebook_size} codes (SemanticIdSettings.min_perplexity_share): {remedy}"
        )
    if figures["collision_ratio"] > settings.max_collision_ratio:
        raise CollapsedSemanticIds(
            f"the semantic IDs have collapsed: {figures['collision_ratio']:.0%} of the items share their codes with "
            f"another, expected at most {settings.max_collision_ratio:.0%} (SemanticIdSettings.max_collision_ratio): "
            f"{remedy}, or raise codebook_size"
        )
