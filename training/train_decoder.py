"""Stage: semantic IDs and sequences → a trained retriever.

Run as `python -m training.train_decoder configs/decoder_ml25m.gin`; it makes the stages before it first.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass as settings_dataclass
from safetensors.torch import load_file, save_file
from torch import Tensor

from rqrec.models.retriever.config import RetrieverConfig
from rqrec.models.retriever.retriever import PADDING, CatalogueTensors, RatedItems, Retriever
from rqrec.models.search.recommender import Recommender
from rqrec.models.search.torch_engine import TorchEngine
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.data.prepare import load_prepared
from rqrec.training.data.sequences import SeqBatch, SeqData, move_to_disk, tokenize_sequences
from rqrec.training.data.splits import Holdout, LeaveOneOut, Sequences, leave_one_out, user_sequences
from rqrec.training.evaluation.baselines import item_popularity
from rqrec.training.evaluation.metrics import ndcg_at_k, ranks_of_targets
from rqrec.training.evaluation.rank_holdout import rank_holdout
from rqrec.training.features.features import load_features
from rqrec.training.runtime.config import DropProbability, Share
from rqrec.training.runtime.device import autocast, training_device
from rqrec.training.runtime.loop import Schedule, Work, train
from rqrec.training.runtime.workspace import Stage, Workspace
from rqrec.training.tokenize_items import load_semantic_ids

NAME = "decoder"
WEIGHTS, CONFIG = "retriever.safetensors", "retriever.json"
VALIDATION_K = 10
CODE_VERSION = 4  # 4: the generation's gradient in part


@settings_dataclass(frozen=True)
class DecoderSettings:
    """The retriever and its training.

    Attributes:
        width: Width of item vectors and of both Transformers.
        num_heads: Attention heads.
        ff_width: Inner width of the feed-forward nets.
        encoder_layers: Blocks that read the history.
        decoder_layers: Blocks that generate codes.
        max_history: The most recent items that are read.
        dropout: Probability of dropping an activation of the history encoder.
        decoder_dropout: The same in the code decoder.
        feature_dropout: Probability of dropping a feature of an item.
        generation_gradient: Share of the generation loss's gradient that reaches the history encoder. The decoder
            learns at full strength from states that are made for rating, which is what ranks.
        temperature: Of the cosines that rate items for a history.
        relevance_weight: Weight of that rating beside the log-probability when candidates are ranked.
        negatives: Items drawn a step, beside which the next items are rated.
        epochs: Passes over the training sequences.
        batch_size: Windows a step.
        learning_rate: Peak rate of AdamW.
        weight_decay: Of AdamW.
        bf16: Compute in bfloat16 where the processor can.
        validate_every_epochs: Epochs between validations; the weights of the best one are kept.
        validation_users: Users that a validation asks about, at the most.
        patience: Validations without a better score after which training ends.
        beam_width: Of the search in validation.
        checkpoint_every_steps: Steps between checkpoints.
        accumulate: Parts that each process takes one after the other, where a batch does not fit into memory.
        seed: Of weights, batches, dropout and the validation sample.
    """

    width: PositiveInt = 128
    num_heads: PositiveInt = 4
    ff_width: PositiveInt = 512
    encoder_layers: PositiveInt = 4
    decoder_layers: PositiveInt = 2
    max_history: PositiveInt = 50
    dropout: DropProbability = 0.4
    decoder_dropout: DropProbability = 0.2
    feature_dropout: DropProbability = 0.2
    generation_gradient: Share = 0.1
    temperature: PositiveFloat = 0.07
    relevance_weight: NonNegativeFloat = 8.0
    negatives: PositiveInt = 1536
    epochs: PositiveInt = 40
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = 2e-3
    weight_decay: NonNegativeFloat = 0.05
    bf16: bool = True
    validate_every_epochs: PositiveInt = 2
    validation_users: PositiveInt = 2000
    patience: PositiveInt = 5
    beam_width: PositiveInt = 50
    checkpoint_every_steps: PositiveInt = 500
    accumulate: PositiveInt = 1
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.width % self.num_heads:
            raise ValueError(f"width must be a multiple of num_heads, got {self.width} and {self.num_heads}")
        return self


class DecoderBatch(NamedTuple):
    """A step's windows, or a part of them, and what the whole step rates them beside.

    Attributes:
        windows: What is read and predicted.
        items_X: All items of the step's windows, and those drawn beside them; leaf positions.
        num_targets: How many items the step predicts.
    """

    windows: SeqBatch
    items_X: Tensor
    num_targets: int

    @classmethod
    def from_windows(cls, windows: SeqBatch, drawn_X: NDArray[np.int64]) -> "DecoderBatch":
        """A whole step."""
        is_target_BT = windows.targets_BT != PADDING
        read, predicted = windows.history_BT[is_target_BT], windows.targets_BT[is_target_BT]
        return cls(windows, torch.cat([read, predicted, torch.from_numpy(drawn_X)]), len(predicted))

    def split(self, parts: int) -> "list[tuple[DecoderBatch, float]]":
        """Deals the windows out to parts; each weighs as much as what it predicts."""
        dealt = [SeqBatch(*(array[part::parts] for array in self.windows)) for part in range(parts)]
        weights = [float((windows.targets_BT != PADDING).sum()) / self.num_targets for windows in dealt]
        return [(self._replace(windows=windows), weight) for windows, weight in zip(dealt, weights, strict=True)]

    def to(self, device: torch.device) -> "DecoderBatch":
        """Copies the batch to a device."""
        return self._replace(windows=self.windows.to(device), items_X=self.items_X.to(device))


def train_decoder(
    workspace: Workspace, data: Stage, features: Stage, tokens: Stage, settings: DecoderSettings
) -> Stage:
    """Runs the stage, resuming from a checkpoint of the same inputs if the workspace allows."""

    def write(directory: Path, checkpoints: Path) -> None:
        ids = load_semantic_ids(tokens)
        trie = SemanticIdTrie.build(ids.codes_NL, codebook_size=ids.codebook_size)
        split = leave_one_out(user_sequences(load_prepared(data)))
        features_NE = load_features(features).features_NE
        model = fit_retriever(trie, features_NE, split, settings, checkpoints, workspace.tensorboard)
        save_file(model.state_dict(), directory / WEIGHTS)
        (directory / CONFIG).write_text(json.dumps(asdict(model.config)), encoding="utf-8")

    return workspace.train(NAME, inputs=[data, features, tokens], settings=settings, write=write, version=CODE_VERSION)


def fit_retriever(
    trie: SemanticIdTrie,
    features_NE: NDArray[np.float32],
    split: LeaveOneOut,
    settings: DecoderSettings,
    checkpoints: Path,
    tensorboard: Path,
) -> Retriever:
    """Trains a retriever, on the GPU where there is one; keeps the weights that validate best by NDCG.

    Args:
        trie: The catalogue.
        features_NE: Its items' features, by row.
        split: Whom to learn from, and whom to validate by.
        settings: All of the model and of its training.
        checkpoints: Where an unfinished training is kept.
        tensorboard: Where its figures go.
    """
    device = training_device()
    torch.manual_seed(settings.seed)
    model = Retriever(retriever_config(settings, trie, feature_dim=features_NE.shape[1])).to(device)
    popularity_N = item_popularity(split.train, len(features_NE))
    catalogue = CatalogueTensors.from_trie(trie, features_NE, popularity_N, device)
    with TemporaryDirectory(prefix="rqrec-") as scratch:
        tokens = tokenize_sequences(split.train, trie.leaf_of_row_N)
        # On disk, so that what training reads need not fit into memory. The file goes with the last who reads it.
        tokens = move_to_disk(tokens, Path(scratch) / "sequences.npy")
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    work = retriever_work(model, catalogue, tokens, settings)
    train(
        NAME,
        model,
        optimizer,
        replace(work, validate=_validation(model, trie, catalogue, split, settings)),
        Schedule(
            epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            warmup_share=0.05,
            gradient_clip=1.0,
            checkpoint_every_steps=settings.checkpoint_every_steps,
            validate_every_epochs=settings.validate_every_epochs,
            patience=settings.patience,
            accumulate=settings.accumulate,
        ),
        checkpoints=checkpoints,
        tensorboard=tensorboard,
    )
    return model.eval().cpu()


def retriever_work(
    model: Retriever, catalogue: CatalogueTensors, tokens: Sequences, settings: DecoderSettings
) -> Work[DecoderBatch]:
    """What a training of the retriever does in the loop, but for validation.

    Args:
        model: The retriever.
        catalogue: What it recommends from, on the model's device.
        tokens: Training sequences of leaf positions.
        settings: All of the model and of its training.
    """
    device, num_leaves = catalogue.rows_N.device, len(catalogue.rows_N)
    sequences = SeqData(tokens, max_history=settings.max_history, batch_size=settings.batch_size, seed=settings.seed)

    def batches(epoch: int) -> Iterator[DecoderBatch]:
        for number, windows in enumerate(sequences.epoch(epoch)):
            rng = np.random.default_rng((settings.seed, epoch, number))
            yield DecoderBatch.from_windows(windows, rng.integers(0, num_leaves, settings.negatives))

    def losses(batch: DecoderBatch, _done: float) -> Mapping[str, Tensor]:
        batch = batch.to(device)
        rated = RatedItems.from_batch(batch.items_X, catalogue, targets=batch.num_targets, draws=settings.negatives)
        with autocast(device, enabled=settings.bf16):
            output = model(batch.windows.history_BT, batch.windows.targets_BT, rated, catalogue)
        levels = {f"level_{level}": loss for level, loss in enumerate(output.level_losses_L)}
        parts = {"generation": output.generation_loss, "relevance": output.relevance_loss}
        return {"loss": output.loss, **parts, **levels}

    return Work(sequences.num_batches, batches, losses, split=DecoderBatch.split)


def retriever_config(settings: DecoderSettings, trie: SemanticIdTrie, *, feature_dim: int) -> RetrieverConfig:
    """The sizes of a retriever for a catalogue whose items have that many features."""
    return RetrieverConfig(
        num_levels=trie.num_levels,
        codebook_size=trie.codebook_size,
        width=settings.width,
        num_heads=settings.num_heads,
        ff_width=settings.ff_width,
        encoder_layers=settings.encoder_layers,
        decoder_layers=settings.decoder_layers,
        max_history=settings.max_history,
        dropout=settings.dropout,
        decoder_dropout=settings.decoder_dropout,
        feature_dim=feature_dim,
        feature_dropout=settings.feature_dropout,
        num_items=trie.num_leaves,
        num_prefixes=len(trie.child_code[1]) if trie.num_levels > 1 else 0,
        generation_gradient=settings.generation_gradient,
        temperature=settings.temperature,
        relevance_weight=settings.relevance_weight,
    )


def _validation(
    model: Retriever,
    trie: SemanticIdTrie,
    catalogue: CatalogueTensors,
    split: LeaveOneOut,
    settings: DecoderSettings,
) -> Callable[[], float] | None:
    if not len(split.validation):
        return None
    holdout: Holdout = split.validation.sample(settings.validation_users, seed=settings.seed)

    def validate() -> float:
        item_vectors_ND = model.eval().item_vectors(catalogue)
        recommender = Recommender(
            TorchEngine(model, trie, item_vectors_ND, device=item_vectors_ND.device),
            trie,
            max_history=settings.max_history,
            popularity_N=np.zeros(trie.num_leaves, dtype=np.int64),
        )
        lists_UK = rank_holdout(recommender, holdout, k=VALIDATION_K, beam_width=settings.beam_width)
        return ndcg_at_k(ranks_of_targets(lists_UK, holdout.targets_U), k=VALIDATION_K)

    return validate


def load_retriever(stage: Stage) -> Retriever:
    """Reads the model that `train_decoder` saved."""
    model = Retriever(RetrieverConfig(**json.loads((stage.path / CONFIG).read_text(encoding="utf-8"))))
    model.load_state_dict(load_file(stage.path / WEIGHTS))
    return model.eval()


if __name__ == "__main__":
    from rqrec.training.cli import stage_command  # which knows every stage

    stage_command(lambda run: run.decoder, __doc__)
