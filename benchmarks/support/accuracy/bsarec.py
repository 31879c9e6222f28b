"""BSARec (Shin et al. 2024, arXiv 2312.10325): SASRec with a filter beside attention, a strong baseline.

As in the paper, every prefix of a sequence is a training sample, and the loss is cross-entropy over all items at its
last position. All samples of a batch have the same length, so nothing is padded. The paper pads all of them to 50
items; that takes six times as long, and the filter then sees frequencies of the padding.

Shapes: B users, T history items, N items, D width, I interactions.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.support.accuracy.networks import validation
from rqrec.models.retriever.layers import Dropout, causal_bias
from rqrec.training.data.splits import Sequences, Split
from rqrec.training.runtime.device import training_device
from rqrec.training.runtime.loop import Work, train
from rqrec.training.runtime.schedule import Schedule

NAME = "bsarec"
WEIGHT_STD = 0.02


@dataclass(frozen=True)
class BsaRecSettings:
    """BSARec's sizes and its training, as the paper chose them for Amazon Beauty.

    Attributes:
        width: D.
        num_heads: Number of attention heads.
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
    epochs: int = 60
    batch_size: int = 256
    learning_rate: float = 1e-3
    validate_every_epochs: int = 5
    patience: int = 3
    seed: int = 0


class FrequencyFilter(nn.Module):
    """Scales the high frequencies of each column of a sequence, and leaves the low ones as they are.

    Args:
        settings: BSARec's sizes.
    """

    def __init__(self, settings: BsaRecSettings) -> None:
        super().__init__()
        self.num_low = settings.low_frequencies // 2 + 1
        self.root_scale = nn.Parameter(torch.randn(settings.width))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Computes the filtered sequences, shape (B, T, D)."""
        spectrum = torch.fft.rfft(x_BTD, dim=1, norm="ortho")
        is_low = torch.arange(spectrum.shape[1], device=x_BTD.device) < self.num_low
        low_BTD = torch.fft.irfft(spectrum * is_low[:, None], n=x_BTD.shape[1], dim=1, norm="ortho")
        return torch.as_tensor(low_BTD + self.root_scale.square() * (x_BTD - low_BTD))


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
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.filter_norm, self.attention_norm, self.norm = (nn.LayerNorm(width, eps=1e-12) for _ in range(3))
        self.dropout = Dropout(settings.dropout)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Computes the new states of all positions, shape (B, T, D)."""
        filtered_BTD = self.filter_norm(x_BTD + self.dropout(self.filter(x_BTD)))
        attended_BTD = self.attention_norm(x_BTD + self.dropout(self._attend(x_BTD)))
        x_BTD = self.filter_share * filtered_BTD + (1 - self.filter_share) * attended_BTD
        return torch.as_tensor(self.norm(x_BTD + self.dropout(self.feed_forward(x_BTD))))

    def _attend(self, x_BTD: Tensor) -> Tensor:
        users, length, width = x_BTD.shape
        q, k, v = (x.view(users, length, self.num_heads, -1).transpose(1, 2) for x in self.qkv(x_BTD).chunk(3, -1))
        scores_BHTT = q @ k.transpose(-1, -2) / math.sqrt(width // self.num_heads) + causal_bias(length, x_BTD.device)
        mixed = self.dropout(torch.softmax(scores_BHTT, dim=-1)) @ v
        return torch.as_tensor(self.out(mixed.transpose(1, 2).reshape(users, length, width)))


class BsaRec(nn.Module):
    """Item embeddings, the positions counted from the end, and blocks; states are compared with the embeddings.

    Args:
        num_items: N.
        settings: BSARec's sizes.
    """

    def __init__(self, num_items: int, settings: BsaRecSettings) -> None:
        super().__init__()
        self.items = nn.Embedding(num_items, settings.width)
        self.positions = nn.Embedding(settings.max_history, settings.width)
        self.norm = nn.LayerNorm(settings.width, eps=1e-12)
        self.dropout = Dropout(settings.dropout)
        self.blocks = nn.ModuleList(BsaRecBlock(settings) for _ in range(settings.layers))
        for module in self.modules():
            if isinstance(module, nn.Embedding | nn.Linear):
                nn.init.normal_(module.weight, std=WEIGHT_STD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, history_BT: Tensor) -> Tensor:
        """Computes the logits of all items after the last item of each history, shape (B, N).

        Args:
            history_BT: item_index, oldest first; all histories have the same length, at most `max_history`.
        """
        last_first = torch.arange(history_BT.shape[1] - 1, -1, -1, device=history_BT.device)
        x_BTD = self.dropout(self.norm(self.items(history_BT) + self.positions(last_first)))
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return torch.as_tensor(x_BTD[:, -1] @ self.items.weight.T)


class PrefixBatch(NamedTuple):
    """Prefixes of one length, and the item after each.

    Attributes:
        history_BT: item_index, oldest first, int64.
        targets_B: item_index, int64.
    """

    history_BT: Tensor
    targets_B: Tensor


class Prefixes:
    """All prefixes of all sequences as training samples, in batches of one length.

    Args:
        sequences: The sequences to train on.
        settings: The largest length, the batch size and the seed.
    """

    def __init__(self, sequences: Sequences, settings: BsaRecSettings) -> None:
        self._items_I, self._settings = sequences.items_I.astype(np.int64), settings
        position_I = np.arange(len(self._items_I)) - np.repeat(sequences.offsets_U[:-1], sequences.lengths_U)
        self._targets_P = np.flatnonzero(position_I > 0)
        self._lengths_P = np.minimum(position_I[self._targets_P], settings.max_history)

    def num_batches(self, epoch: int) -> int:
        """Returns the number of batches in an epoch."""
        return len(self._batches(epoch))

    def epoch(self, epoch: int) -> Iterator[PrefixBatch]:
        """Yields the batches of an epoch in a random order, which the seed and the epoch decide."""
        for targets_B, length in self._batches(epoch):
            rows_BT = targets_B[:, None] + np.arange(-length, 0)
            yield PrefixBatch(torch.from_numpy(self._items_I[rows_BT]), torch.from_numpy(self._items_I[targets_B]))

    def _batches(self, epoch: int) -> list[tuple[NDArray[np.int64], int]]:
        rng = np.random.default_rng((self._settings.seed, epoch))
        order_P = rng.permutation(len(self._targets_P))
        order_P = order_P[np.argsort(self._lengths_P[order_P], kind="stable")]
        batches = []
        for length, group in groupby(order_P, key=lambda place: int(self._lengths_P[place])):
            targets = self._targets_P[np.fromiter(group, dtype=np.int64)]
            size = self._settings.batch_size
            batches += [(targets[begin : begin + size], length) for begin in range(0, len(targets), size)]
        return [batches[place] for place in rng.permutation(len(batches))]


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
