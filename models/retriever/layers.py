"""Transformer layers that the history encoder and the code decoder share.

Shapes: B sequences, T positions, D width, H heads, d = D / H, R = B T rows (each row is one position), S positions that
are attended to.
"""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn

from rqrec.models.trie.lookup import take_rows

BYTE_VALUES = 256
BYTES_PER_WORD = 8
SHORTEST = 1e-6  # length of a vector; a shorter one counts as this long


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) that draws one random byte per activation, which is fast on a CPU.

    On a CPU, the random numbers of `torch.nn.Dropout` take a fifth of a training step. Random bytes take an eighth of
    that time.

    Args:
        probability: Probability of dropping an activation in training, in [0, 1); rounded to a multiple of 1/256.

    Raises:
        ValueError: If the probability is out of range.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        if not 0 <= probability < 1:
            raise ValueError(f"dropout must lie in [0, 1), got {probability}")
        self.dropped = min(round(probability * BYTE_VALUES), BYTE_VALUES - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Drops and rescales activations in training, and returns the input unchanged in evaluation."""
        if not self.training or self.dropped == 0:
            return x
        words = torch.empty(-(-x.numel() // BYTES_PER_WORD), dtype=torch.int64, device=x.device)
        # The default bounds of random_ never set the sign bit, so every eighth byte would stay below 128.
        words.random_(torch.iinfo(torch.int64).min, None)
        keep = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.dropped
        return x * (keep * (BYTE_VALUES / (BYTE_VALUES - self.dropped))).to(x.dtype)


class Attention(nn.Module):
    """Multi-head self-attention with one fused query-key-value projection.

    The input is one matrix with a row for each position of each sequence. A linear layer with a bias is then a single
    operation.

    Args:
        width: D, the width of a row, a multiple of `num_heads`.
        num_heads: H, the number of attention heads.

    Raises:
        ValueError: If width is not a multiple of num_heads.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"width must be a multiple of num_heads, got {width} and {num_heads}")
        self.width, self.num_heads = width, num_heads
        self.scale = (width // num_heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x_RD: Tensor, bias_HTT: Tensor) -> Tensor:
        """Computes self-attention at all positions of each sequence, without the output projection `out`.

        Args:
            x_RD: The vectors of B sequences of T positions, one sequence after the other, shape (B T, D).
            bias_HTT: Added to the attention scores, broadcastable to shape (B, H, T, T). The last axis is the position
                of the key, the axis before it is the position of the query. -inf hides a key from a query.

        Returns:
            The attended values, shape (B T, D). The caller applies `out` to them.
        """
        q_RD, k_RD, v_RD = self.qkv(x_RD).chunk(3, dim=1)
        return self._mix(q_RD, k_RD, v_RD, bias_HTT)

    def last(self, x_RD: Tensor, last_BD: Tensor, bias_BH1T: Tensor) -> Tensor:
        """Computes `forward` at only one position of each sequence, such as the last one.

        Args:
            x_RD: The vectors of B sequences of T positions, one sequence after the other, shape (B T, D).
            last_BD: For each sequence, the vector of the position to compute.
            bias_BH1T: Added to the attention scores of this position, broadcastable to shape (B, H, 1, T).

        Returns:
            The attended values, shape (B, D). The caller applies `out` to them.
        """
        q_BD = nn.functional.linear(last_BD, self.qkv.weight[: self.width], self.qkv.bias[: self.width])
        kv_RD2 = nn.functional.linear(x_RD, self.qkv.weight[self.width :], self.qkv.bias[self.width :])
        k_RD, v_RD = kv_RD2.chunk(2, dim=1)
        return self._mix(q_BD, k_RD, v_RD, bias_BH1T)

    def _mix(self, q_XD: Tensor, k_RD: Tensor, v_RD: Tensor, bias: Tensor) -> Tensor:
        heads, head_width = self.num_heads, self.width // self.num_heads
        queries, keys = bias.shape[-2:]
        q = q_XD.view(-1, queries, heads, head_width).transpose(1, 2)
        k, v = (part.view(-1, keys, heads, head_width).transpose(1, 2) for part in (k_RD, v_RD))
        # Not the fused kernel: its backward pass is five times slower on a CPU at these short lengths.
        scores_BHTS = (q @ k.transpose(-1, -2)) * self.scale + bias
        mixed_BHTd = torch.softmax(scores_BHTS, dim=-1).to(v.dtype) @ v
        return torch.as_tensor(mixed_BHTd.transpose(1, 2).reshape(-1, self.width))

    def step(self, q_RHd: Tensor, own_RH1: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor]) -> Tensor:
        """Computes self-attention at one new position of each of R sequences, from cached keys and values.

        Args:
            q_RHd: The scaled query of the new position of each sequence.
            own_RH1: The attention score of the new position for itself.
            keys: The keys of each earlier position, each of shape (R, H, d).
            values: The values of each position, the new position last; each of shape (R, H, d).

        Returns:
            The attended values, shape (R, D). The caller applies `out` to them.
        """
        # There are at most L positions. One elementwise product per position is faster than many tiny matrix products,
        # and faster than one product with an axis for the positions, which is broadcast and summed row by row.
        scores_RHS = torch.cat([*((q_RHd * k_RHd).sum(-1, keepdim=True) for k_RHd in keys), own_RH1], dim=-1)
        weights = torch.softmax(scores_RHS, dim=-1).split(1, dim=-1)
        mixed = [weight_RH1 * v_RHd for weight_RH1, v_RHd in zip(weights, values, strict=True)]
        return torch.as_tensor(reduce(torch.add, mixed).flatten(1))

    def heads(self, x_RD: Tensor) -> Tensor:
        """Splits R vectors of width D by attention head. Returns shape (R, H, d) with d = D / H."""
        return x_RD.reshape(-1, self.num_heads, self.width // self.num_heads)


class Block(nn.Module):
    """A pre-norm Transformer block: attention, then a feed-forward net, each added to its input.

    Args:
        width: D, the width of a row, a multiple of `num_heads`.
        num_heads: H, the number of attention heads.
        ff_width: Inner width of the feed-forward net.
        dropout: Probability of dropping an activation in training, in [0, 1).
    """

    def __init__(self, width: int, num_heads: int, *, ff_width: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, num_heads)
        self.ff_norm = nn.LayerNorm(width)
        self.ff = nn.Sequential(nn.Linear(width, ff_width), nn.ReLU())
        self.ff_out = nn.Linear(ff_width, width, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, x_RD: Tensor, bias_HTT: Tensor) -> Tensor:
        """Computes the block at all positions of all sequences.

        Args:
            x_RD: The vectors of B sequences of T positions, one sequence after the other, shape (B T, D).
            bias_HTT: The attention bias, as in `Attention.forward`.

        Returns:
            The block's output, shape (B T, D).
        """
        return self._add(x_RD, self.attention(self.attention_norm(x_RD), bias_HTT))

    def last(self, x_RD: Tensor, rows_B: Tensor, bias_BH1T: Tensor) -> Tensor:
        """Computes `forward` at only one position of each sequence.

        Args:
            x_RD: The vectors of B sequences of T positions, one sequence after the other, shape (B T, D).
            rows_B: For each sequence, the row of `x_RD` whose output to compute, integer.
            bias_BH1T: The attention bias of this position, as in `Attention.last`.

        Returns:
            The block's output at these rows, shape (B, D).
        """
        normed_RD = self.attention_norm(x_RD)
        attended_BD = self.attention.last(normed_RD, take_rows(normed_RD, rows_B), bias_BH1T)
        return self._add(take_rows(x_RD, rows_B), attended_BD)

    def project(self, x_RD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Computes the scaled queries, the keys and the values of R positions, each of shape (R, H, d)."""
        projected = self.attention.qkv(self.attention_norm(x_RD)).chunk(3, dim=1)
        q_RHd, k_RHd, v_RHd = map(self.attention.heads, projected)
        return q_RHd * self.attention.scale, k_RHd, v_RHd

    def first(self, x_RD: Tensor, v_RHd: Tensor) -> Tensor:
        """Computes `forward` at the first position of each sequence, which attends only to itself.

        Args:
            x_RD: The vector of the first position of each of R sequences, of width D.
            v_RHd: The attention values of these positions, from `project`.

        Returns:
            The block's output, shape (R, D).
        """
        return self._add(x_RD, v_RHd.flatten(1))

    def step(
        self, x_RD: Tensor, q_RHd: Tensor, own_RH1: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor]
    ) -> Tensor:
        """Computes `forward` at the newest position of each sequence, from cached keys and values.

        Args:
            x_RD: The vector of the newest position of each of R sequences, of width D.
            q_RHd: The scaled query of each newest position, from `project`.
            own_RH1: The attention score of each newest position for itself.
            keys: The keys of each earlier position, each of shape (R, H, d).
            values: The values of each position, the newest position last; each of shape (R, H, d).

        Returns:
            The block's output, shape (R, D).
        """
        return self._add(x_RD, self.attention.step(q_RHd, own_RH1, keys, values))

    def _add(self, x_RD: Tensor, attended_RD: Tensor) -> Tensor:
        x_RD = self._residual(x_RD, attended_RD, self.attention.out)
        return self._residual(x_RD, self.ff(self.ff_norm(x_RD)), self.ff_out)

    def _residual(self, x_RD: Tensor, y_RX: Tensor, linear: nn.Linear) -> Tensor:
        if self.training:
            return torch.as_tensor(x_RD + self.dropout(linear(y_RX)))
        # A projection without a bias and the addition are one operation.
        return torch.addmm(x_RD, y_RX, linear.weight.t())


def causal_bias(length: int, device: torch.device) -> Tensor:
    """Returns the attention bias that hides later positions from earlier ones.

    Args:
        length: T, the number of positions.
        device: The device of the result.

    Returns:
        A matrix of shape (T, T): -inf where the column's position is later than the row's, else 0.
    """
    return torch.full((length, length), -torch.inf, device=device).triu(1)


def of_length(length: float, x_BD: Tensor) -> Tensor:
    """Scales rows to a length. It takes fewer nodes of the search's graph than `normalize`.

    Args:
        length: The length.
        x_BD: B rows.
    """
    return torch.as_tensor(x_BD / torch.linalg.vector_norm(x_BD, dim=-1, keepdim=True).clamp_min(SHORTEST) * length)
