"""SASRec (Kang and McAuley 2018, arXiv 1808.09781), a strong baseline, trained by cross-entropy over all items.

With the full softmax in place of one sampled negative it is far more accurate than in its own paper (Klenitskiy and
Vasilev 2023, arXiv 2309.07602).

Shapes: B users, T history items, M positions, N items, D width.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.support.accuracy.networks import validation
from rqrec.models.retriever.layers import Block, Dropout, causal_bias
from rqrec.models.retriever.retriever import PADDING
from rqrec.training.data.sequences import SeqBatch, SeqData
from rqrec.training.data.splits import Split
from rqrec.training.runtime.device import autocast, training_device
from rqrec.training.runtime.loop import Work, train
from rqrec.training.runtime.schedule import Schedule

NAME = "sasrec"
ITEM_STD = 0.02


@dataclass(frozen=True)
class SasRecSettings:
    """SASRec's sizes and its training, tuned on the validation items of Amazon Beauty.

    Attributes:
        width: D.
        num_heads: Number of attention heads.
        layers: Number of Transformer blocks.
        max_history: T.
        dropout: Probability of dropping an activation.
        epochs: Passes over the training sequences.
        batch_size: Windows in one step.
        learning_rate: Peak learning rate of AdamW.
        validate_every_epochs: Epochs between two validations. The best weights are kept.
        seed: Seed of weights, batches and dropout.
    """

    width: int = 64
    num_heads: int = 2
    layers: int = 2
    max_history: int = 50
    dropout: float = 0.5
    epochs: int = 30
    batch_size: int = 128
    learning_rate: float = 1e-3
    validate_every_epochs: int = 5
    seed: int = 0


class SasRec(nn.Module):
    """A causal Transformer over item embeddings. Its states are compared with the same embeddings."""

    def __init__(self, num_items: int, settings: SasRecSettings) -> None:
        super().__init__()
        width = settings.width
        self.items = nn.Embedding(num_items, width)
        self.positions = nn.Embedding(settings.max_history, width)
        self.dropout = Dropout(settings.dropout)
        self.blocks = nn.ModuleList(
            Block(width, settings.num_heads, ff_width=4 * width, dropout=settings.dropout)
            for _ in range(settings.layers)
        )
        self.norm = nn.LayerNorm(width)
        for embedding in (self.items, self.positions):
            nn.init.normal_(embedding.weight, std=ITEM_STD)

    def forward(self, history_BT: Tensor, is_target_BT: Tensor) -> Tensor:
        """Computes the logits of all items at the M positions that have a target.

        Args:
            history_BT: item_index of the items read, oldest first, padded at the end with -1.
            is_target_BT: Whether a next item is to be predicted at the position.

        Returns:
            Logits of shape (M, N).
        """
        return self.scores(self.states(history_BT)[is_target_BT])

    def states(self, history_BT: Tensor) -> Tensor:
        """Computes the state after every item, shape (B, T, D)."""
        users, length = history_BT.shape
        x_BTD = self.items(history_BT.clamp_min(0)) * math.sqrt(self.items.embedding_dim)
        x_RD = self.dropout(x_BTD + self.positions.weight[:length]).flatten(0, 1)
        bias_TT = causal_bias(length, x_RD.device)
        for block in self.blocks:
            x_RD = block(x_RD, bias_TT)
        return torch.as_tensor(self.norm(x_RD)).view(users, length, -1)

    def score(self, history_BT: Tensor) -> Tensor:
        """Computes the logits of all items after the last item of each history, shape (B, N).

        Args:
            history_BT: item_index, oldest first; all histories have the same length.
        """
        return self.scores(self.states(history_BT)[:, -1])

    def scores(self, states_MD: Tensor) -> Tensor:
        """Computes the logits of all items, shape (M, N)."""
        return states_MD @ self.items.weight.T


def fit_sasrec(split: Split, num_items: int, settings: SasRecSettings, checkpoints: Path, tensorboard: Path) -> SasRec:
    """Trains the model. Keeps the weights with the best NDCG in validation.

    Args:
        split: The sequences to train on, and the users to validate with.
        num_items: N.
        settings: SASRec's sizes and its training.
        checkpoints: The folder of this training's checkpoints.
        tensorboard: The folder of all TensorBoard files.
    """
    device = training_device()
    torch.manual_seed(settings.seed)
    model = SasRec(num_items, settings).to(device)
    batches = SeqData(split.train, max_history=settings.max_history, batch_size=settings.batch_size, seed=settings.seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
    )

    def losses(replica: nn.Module, batch: SeqBatch, _done: float) -> Mapping[str, Tensor]:
        batch = batch.to(device)
        is_target_BT = batch.targets_BT != PADDING
        with autocast(device, enabled=True):
            scores_MN = replica(batch.history_BT, is_target_BT)
        return {"loss": F.cross_entropy(scores_MN.float(), batch.targets_BT[is_target_BT])}

    validate = validation(model.score, split, seed=settings.seed, max_history=settings.max_history, device=device)
    schedule = Schedule(
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        warmup_share=0.05,
        gradient_clip=5.0,
        checkpoint_every_steps=1000,
        validate_every_epochs=settings.validate_every_epochs,
    )
    work = Work(batches.num_batches, batches.epoch, losses, validate)
    train(NAME, model, optimizer, work, schedule, checkpoints=checkpoints, tensorboard=tensorboard)
    return model.eval().cpu()
