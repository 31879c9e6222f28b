"""BSARec (Shin et al. 2024, arXiv 2312.10325): SASRec with a filter beside attention, a strong baseline.

The model and its samples are those of the authors' code. Every item of a training sequence is the target of a sample,
also the first one. The history is padded at the front to `max_history` items, because the filter's frequencies are
those of a window of that length. The padding has positions and no items. The filter reads it, attention does not.

Four things differ from that code. The learning rate warms up and then falls along a cosine. Gradients are clipped. The
padding's embedding is zero, and padding is never a candidate. In a sequence longer than `max_history` all items are
targets, not only the last ones.

Shapes: B users, T history items with padding, S positions that a block computes, N items, D width, I interactions, H
heads.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.support.accuracy.networks import validation
from rqrec.models.retriever.layers import Dropout
from rqrec.models.retriever.retriever import PADDING
from rqrec.training.data.splits import Sequences, Split
from rqrec.training.runtime.device import training_device
from rqrec.training.runtime.loop import Work, train
from rqrec.training.runtime.schedule import Schedule

NAME = "bsarec"
WEIGHT_STD = 0.02
HIDDEN = -1e4  # Not -inf: all keys are hidden from a position of the padding, and its softmax would not be a number.


@dataclass(frozen=True)
class BsaRecSettings:
    """BSARec's sizes and its training, as the paper chose them for Amazon Beauty, except for rate and epochs.

    The authors train at a constant learning rate of 5e-4 for at most 200 epochs; in their log epoch 55 is the best one.
    Here the rate has a peak of 1e-3 and falls along a cosine, so the training settles within 40 epochs.

    Attributes:
        width: D.
        num_heads: H, the number of attention heads.
        layers: Number of blocks.
        max_history: T.
        dropout: Probability of dropping an activation.
        filter_share: Weight of the filter's output (alpha); attention has the rest.
        low_frequencies: The filter takes the lowest `low_frequencies // 2 + 1` frequencies for the low ones (c).
        epochs: Most passes over the training samples.
        batch_size: Samples in one step.
        learning_rate: Peak learning rate of Adam.
        validate_every_epochs: Epochs between two validations. The best weights are kept.
        patience: Training ends after this many validations in a row without a better score.
        seed: Seed of weights, batches and dropout.
    """

    width: int = 64
    num_heads: int = 1
    layers: int = 2
    max_history: int = 50
    dropout: float = 0.5
    filter_share: float = 0.7
    low_frequencies: int = 5
    epochs: int = 40
    batch_size: int = 256
    learning_rate: float = 1e-3
    validate_every_epochs: int = 1
    patience: int = 10
    seed: int = 0


class FrequencyFilter(nn.Module):
    """Scales the high frequencies of each column of a window, and leaves the low ones as they are.

    Args:
        settings: BSARec's sizes.
    """

    low_pass_TT: Tensor

    def __init__(self, settings: BsaRecSettings) -> None:
        super().__init__()
        length = settings.max_history
        spectrum = torch.fft.rfft(torch.eye(length), dim=0)
        spectrum[settings.low_frequencies // 2 + 1 :] = 0
        self.register_buffer("low_pass_TT", torch.fft.irfft(spectrum, n=length, dim=0), persistent=False)
        self.root_scale = nn.Parameter(torch.randn(settings.width))

    def forward(self, x_BTD: Tensor, first: int) -> Tensor:
        """Computes the filtered windows from position `first` on, shape (B, S, D).

        Args:
            x_BTD: The windows.
            first: The first of the S positions to compute.
        """
        low_BSD = self.low_pass_TT[first:] @ x_BTD
        return torch.as_tensor(low_BSD + self.root_scale.square() * (x_BTD[:, first:] - low_BSD))


class BsaRecBlock(nn.Module):
    """A filter beside attention, then a feed-forward net; each is added to its input and normalised.

    Args:
        settings: BSARec's sizes.
    """

    def __init__(self, settings: BsaRecSettings) -> None:
        super().__init__()
        width = settings.width
        self.filter_share, self.num_heads = settings.filter_share, settings.num_heads
        self.filter = FrequencyFilter(settings)
        self.query, self.key_value, self.out = (nn.Linear(width, parts * width) for parts in (1, 2, 1))
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.filter_norm, self.attention_norm, self.norm = (nn.LayerNorm(width, eps=1e-12) for _ in range(3))
        self.dropout = Dropout(settings.dropout)

    def forward(self, x_BTD: Tensor, bias_B1TT: Tensor, first: int = 0) -> Tensor:
        """Computes the new states from position `first` on, shape (B, S, D).

        Args:
            x_BTD: The states of all positions.
            bias_B1TT: Added to the attention scores; the last axis is the position of the key.
            first: The first of the S positions to compute.
        """
        x_BSD = x_BTD[:, first:]
        filtered_BSD = self.filter_norm(x_BSD + self.dropout(self.filter(x_BTD, first)))
        attended_BSD = self._attend(x_BSD, x_BTD, bias_B1TT[:, :, first:])
        attended_BSD = self.attention_norm(x_BSD + self.dropout(attended_BSD))
        x_BSD = self.filter_share * filtered_BSD + (1 - self.filter_share) * attended_BSD
        return torch.as_tensor(self.norm(x_BSD + self.dropout(self.feed_forward(x_BSD))))

    def _attend(self, x_BSD: Tensor, x_BTD: Tensor, bias_B1ST: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in (self.query(x_BSD), *self.key_value(x_BTD).chunk(2, -1))
        )
        scores_BHST = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias_B1ST
        mixed = self.dropout(torch.softmax(scores_BHST, dim=-1)) @ v
        return torch.as_tensor(self.out(mixed.transpose(1, 2).flatten(2)))


class BsaRec(nn.Module):
    """Embeddings of items and of positions, and blocks; the last state is compared with the items' embeddings.

    Args:
        num_items: N.
        settings: BSARec's sizes.
    """

    def __init__(self, num_items: int, settings: BsaRecSettings) -> None:
        super().__init__()
        self.items = nn.Embedding(1 + num_items, settings.width, padding_idx=0)  # row 0 is for PADDING
        self.positions = nn.Embedding(settings.max_history, settings.width)
        self.norm = nn.LayerNorm(settings.width, eps=1e-12)
        self.dropout = Dropout(settings.dropout)
        self.blocks = nn.ModuleList(BsaRecBlock(settings) for _ in range(settings.layers))
        for module in self.modules():
            if isinstance(module, nn.Embedding | nn.Linear):
                nn.init.normal_(module.weight, std=WEIGHT_STD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        nn.init.zeros_(self.items.weight[0])

    def forward(self, history_BT: Tensor) -> Tensor:
        """Computes the logits of all items after the last item of each history, shape (B, N).

        Args:
            history_BT: item_index, oldest first, padded at the front with -1. Missing columns are padded too.
        """
        length = self.positions.num_embeddings
        history_BT = F.pad(history_BT, (length - history_BT.shape[1], 0), value=PADDING)
        is_causal_TT = torch.ones(length, length, dtype=torch.bool, device=history_BT.device).tril()
        is_seen_BTT = (history_BT != PADDING)[:, None] & is_causal_TT
        bias_B1TT = HIDDEN * (~is_seen_BTT)[:, None]
        x_BTD = self.dropout(self.norm(self.items(history_BT + 1) + self.positions.weight))
        for block in self.blocks[:-1]:
            x_BTD = block(x_BTD, bias_B1TT)
        last_B1D = self.blocks[-1](x_BTD, bias_B1TT, length - 1)
        return torch.as_tensor(last_B1D[:, 0] @ self.items.weight[1:].T)


class PrefixBatch(NamedTuple):
    """Prefixes of sequences, and the item after each.

    Attributes:
        history_BT: item_index, oldest first, padded at the front with -1, int64.
        targets_B: item_index, int64.
    """

    history_BT: Tensor
    targets_B: Tensor


class Prefixes:
    """All prefixes of all sequences as training samples. The first item of a sequence follows the empty prefix.

    Args:
        sequences: The sequences to train on.
        settings: The largest length, the batch size and the seed.
    """

    def __init__(self, sequences: Sequences, settings: BsaRecSettings) -> None:
        self._items_I, self._settings = sequences.items_I.astype(np.int64), settings
        self._lengths_I = np.arange(len(self._items_I)) - np.repeat(sequences.offsets_U[:-1], sequences.lengths_U)

    def num_batches(self, _epoch: int) -> int:
        """Returns the number of batches in an epoch."""
        return -(-len(self._items_I) // self._settings.batch_size)

    def epoch(self, epoch: int) -> Iterator[PrefixBatch]:
        """Yields the batches of an epoch in a random order, which the seed and the epoch decide."""
        order_I = np.random.default_rng((self._settings.seed, epoch)).permutation(len(self._items_I))
        for begin in range(0, len(order_I), self._settings.batch_size):
            yield self._batch(order_I[begin : begin + self._settings.batch_size])

    def _batch(self, targets_B: NDArray[np.int64]) -> PrefixBatch:
        distance_T = np.arange(self._settings.max_history, 0, -1)
        is_item_BT = distance_T <= self._lengths_I[targets_B, None]
        rows_BT = np.where(is_item_BT, targets_B[:, None] - distance_T, 0)
        history_BT = np.where(is_item_BT, self._items_I[rows_BT], PADDING)
        return PrefixBatch(torch.from_numpy(history_BT), torch.from_numpy(self._items_I[targets_B]))


def fit_bsarec(split: Split, num_items: int, settings: BsaRecSettings, checkpoints: Path, tensorboard: Path) -> BsaRec:
    """Trains the model. Keeps the weights with the best NDCG in validation.

    Args:
        split: The sequences to train on, and the users to validate with.
        num_items: N.
        settings: BSARec's sizes and its training.
        checkpoints: The folder of this training's checkpoints.
        tensorboard: The folder of all TensorBoard files.
    """
    device = training_device()
    torch.manual_seed(settings.seed)
    model = BsaRec(num_items, settings).to(device)
    prefixes = Prefixes(split.train, settings)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=0.0, fused=True)

    def losses(replica: nn.Module, batch: PrefixBatch, _done: float) -> Mapping[str, Tensor]:
        return {"loss": F.cross_entropy(replica(batch.history_BT.to(device)), batch.targets_B.to(device))}

    validate = validation(model, split, seed=settings.seed, max_history=settings.max_history, device=device)
    schedule = Schedule(
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        warmup_share=0.02,
        gradient_clip=5.0,
        checkpoint_every_steps=1000,
        validate_every_epochs=settings.validate_every_epochs,
        patience=settings.patience,
    )
    work = Work(prefixes.num_batches, prefixes.epoch, losses, validate)
    train(NAME, model, optimizer, work, schedule, checkpoints=checkpoints, tensorboard=tensorboard)
    return model.eval().cpu()
