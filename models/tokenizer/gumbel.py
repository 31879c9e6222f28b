"""Gumbel-softmax: a differentiable draw from a categorical distribution.

Shapes: B rows, V codes.
"""

import torch
from torch import Tensor


def gumbel_softmax(logits_BV: Tensor, temperature: float, *, generator: torch.Generator | None = None) -> Tensor:
    """Draws soft one-hot rows from softmax(logits) (Jang et al. 2017, arXiv 1611.01144, eq. 2).

    Args:
        logits_BV: Unnormalised log-probabilities, float, shape (B, V).
        temperature: Above 0. Rows become one-hot as it goes to 0, and uniform as it goes to infinity.
        generator: Source of the noise; None for torch's global generator.

    Returns:
        Weights of shape (B, V); each row is positive and sums to one.

    Raises:
        ValueError: If the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    tiny = torch.finfo(logits_BV.dtype).tiny
    uniform_BV = torch.rand(
        logits_BV.shape, dtype=logits_BV.dtype, device=logits_BV.device, generator=generator
    ).clamp_min(tiny)
    # -log(u) underflows to 0 if u rounds to 1. Without the second clamp the noise would be infinite.
    gumbel_BV = -torch.log((-torch.log(uniform_BV)).clamp_min(tiny))
    return torch.softmax((logits_BV + gumbel_BV) / temperature, dim=-1)
