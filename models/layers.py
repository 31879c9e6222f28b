"""Transformer parts that the history encoder and the code decoder share.

Shapes: B rows, T positions, D width, H heads.
"""

import torch
from torch import Tensor, nn

BYTE_VALUES = 256
BYTES_PER_WORD = 8


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) that draws one random byte an activation.

    On a CPU the random numbers of `torch.nn.Dropout` cost a fifth of a training step; bytes cost an eighth of that.

    Args:
        probability: Of dropping an activation while training, in [0, 1); rounded to a multiple of 1/256.

    Raises:
        ValueError: If the probability is out of range.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        if not 0 <= probability < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {probability}")
        self.dropped = min(round(probability * BYTE_VALUES), BYTE_VALUES - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Drops and rescales while training; returns the input unchanged otherwise."""
        if not self.training or self.dropped == 0:
            return x
        words = torch.empty(-(-x.numel() // BYTES_PER_WORD), dtype=torch.int64, device=x.device)
        # Without bounds random_ never sets the sign bit, and every eighth byte would stay below 128.
        words.random_(torch.iinfo(torch.int64).min, None)
        keep = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.dropped
        return x * (keep * (BYTE_VALUES / (BYTE_VALUES - self.dropped))).to(x.dtype)


class Attention(nn.Module):
    """Multi-head self-attention with one fused query-key-value projection.

    Args:
        width: D, a multiple of `num_heads`.
        num_heads: H.

    Raises:
        ValueError: If width is not a multiple of num_heads.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"width must be a multiple of num_heads, got {width} and {num_heads}")
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BTD: Tensor, bias_HTT: Tensor | None = None) -> Tensor:
        """Attends causally: position t sees positions 0..t.

        Args:
            x_BTD: The positions, shape (B, T, D).
            bias_HTT: Added to each head's scores of the earlier position (last axis) for the later one.

        Returns:
            Shape (B, T, D).
        """
        q, k, v = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(-2, -3) for part in self.qkv(x_BTD).chunk(3, dim=-1)
        )
        steps_T = torch.arange(x_BTD.shape[-2], device=x_BTD.device)
        # Written out: the fused kernel's backward pass is five times slower on a CPU at these short lengths.
        scores_BHTT = (q @ k.transpose(-1, -2)) * (q.shape[-1] ** -0.5)
        if bias_HTT is not None:
            scores_BHTT = scores_BHTT + bias_HTT
        scores_BHTT = scores_BHTT.masked_fill(steps_T > steps_T[:, None], -torch.inf)
        mixed = torch.softmax(scores_BHTT, dim=-1).to(v.dtype) @ v
        return torch.as_tensor(self.out(mixed.transpose(-2, -3).flatten(-2)))

    def step(self, x_BKD: Tensor, cache_BKSD2: Tensor) -> tuple[Tensor, Tensor]:
        """Adds one position to each beam and attends over it and the cached ones.

        Args:
            x_BKD: The new position of each of K beams, shape (B, K, D).
            cache_BKSD2: Keys and values of the S earlier positions, shape (B, K, S, 2 D).

        Returns:
            The attended position, shape (B, K, D), and the cache with S + 1 positions.
        """
        q_BKD, kv_BKD2 = self.qkv(x_BKD).split([x_BKD.shape[-1], 2 * x_BKD.shape[-1]], dim=-1)
        cache = torch.cat([cache_BKSD2, kv_BKD2.unsqueeze(2)], dim=2)
        k, v = (part.unflatten(-1, (self.num_heads, -1)) for part in cache.chunk(2, dim=-1))
        q = q_BKD.unflatten(-1, (self.num_heads, -1)).unsqueeze(2)
        # S is at most the number of levels: a product and a sum beat a batch of tiny matrix multiplies.
        scores_BKSH = (q * k).sum(-1) * (q.shape[-1] ** -0.5)
        mixed_BKHd = (torch.softmax(scores_BKSH, dim=2).unsqueeze(-1) * v).sum(2)
        return torch.as_tensor(self.out(mixed_BKHd.flatten(-2))), cache


class Block(nn.Module):
    """A pre-norm Transformer block: attention, then a feed-forward net, each added to its input.

    Args:
        width: D.
        num_heads: H.
        ff_width: Inner width of the feed-forward net.
        dropout: Probability of dropping an activation while training.
    """

    def __init__(self, width: int, num_heads: int, *, ff_width: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, num_heads)
        self.ff_norm = nn.LayerNorm(width)
        self.ff = nn.Sequential(nn.Linear(width, ff_width), nn.GELU(), nn.Linear(ff_width, width))
        self.dropout = Dropout(dropout)

    def forward(self, x_BTD: Tensor, bias_HTT: Tensor | None = None) -> Tensor:
        """Runs all positions at once, causally; see `Attention.forward`. Shape (B, T, D) in and out."""
        x_BTD = x_BTD + self.dropout(self.attention(self.attention_norm(x_BTD), bias_HTT))
        return torch.as_tensor(x_BTD + self.dropout(self.ff(self.ff_norm(x_BTD))))

    def step(self, x_BKD: Tensor, cache_BKSD2: Tensor) -> tuple[Tensor, Tensor]:
        """Runs one new position a beam against the cache; see `Attention.step`."""
        mixed_BKD, cache = self.attention.step(self.attention_norm(x_BKD), cache_BKSD2)
        x_BKD = x_BKD + mixed_BKD
        return x_BKD + self.ff(self.ff_norm(x_BKD)), cache
