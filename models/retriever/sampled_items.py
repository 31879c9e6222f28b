"""The sample of items over which a relevance loss computes its softmax, with its correction.

Shapes: N items, S sampled items, X items of which the sample is made, with duplicates.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class SampledItems(NamedTuple):
    """A sample of S items of the catalogue, over which the relevance loss computes its softmax.

    An item is a number in [0, N): its leaf in the trie of semantic IDs, or its item_index.

    Attributes:
        items_S: The sampled items, distinct and ascending, int64.
        log_drawn_S: For each of these items, the natural logarithm of the estimated probability that a sample contains
            it, float32. The loss subtracts it from the relevance, so that its softmax over the sample estimates the
            softmax over all items.
    """

    items_S: Tensor
    log_drawn_S: Tensor

    @classmethod
    def from_batch(cls, items_X: Tensor, shares_N: Tensor, *, targets: int, draws: int) -> "SampledItems":
        """Makes the sample of one training step: all items of the batch and items drawn uniformly from the catalogue.

        Args:
            items_X: All items that the step reads or predicts, and the items that were drawn uniformly; int64, in any
                order, with or without duplicates.
            shares_N: The share of each item among all choices in the training data, float32 in [0, 1].
            targets: How many items the step predicts. This and `draws` give the probabilities in `log_drawn_S`.
            draws: How many items were drawn uniformly.
        """
        items_S = items_X.unique()
        shares_S, num_items = shares_N[items_S], len(shares_N)
        # A target is an item with the probability of its share. With log_drawn_S subtracted from the relevance, the
        # softmax over the sample estimates the softmax over the catalogue (Yi et al. 2019).
        missed_S = targets * torch.log1p(-shares_S.clamp_max(0.5)) + draws * math.log1p(-1 / (num_items + 1))
        return cls(items_S, torch.log(-torch.expm1(missed_S)).clamp_min(math.log(torch.finfo(torch.float32).tiny)))
