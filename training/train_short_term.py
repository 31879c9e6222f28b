"""The stage "short_term": trains the short-term encoder on user sequences.

Run it as `rqrec train-short-term decoder.gin`. The stage before it runs first, if its result is not stored.

Shapes: N items.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rqrec.models.retriever.config import ShortTermConfig
from rqrec.models.retriever.sampled_items import SampledItems
from rqrec.models.retriever.short_term_encoder import ShortTermEncoder
from rqrec.training.data.prepare import load_prepared, load_repeats, load_split
from rqrec.training.data.sequences import SeqData
from rqrec.training.data.splits import Sequences, Split
from rqrec.training.evaluation.baselines import item_popularity
from rqrec.training.evaluation.metrics import ndcg_at_k, ranks_of_targets
from rqrec.training.evaluation.rank_by_short_term import rank_by_short_term
from rqrec.training.retriever.short_term_settings import ShortTermSettings, short_term_config
from rqrec.training.retriever.work import DecoderBatch
from rqrec.training.runtime.device import training_device
from rqrec.training.runtime.loop import Work, train
from rqrec.training.runtime.schedule import Schedule
from rqrec.training.runtime.workspace import Stage, Workspace

NAME = "short_term"
WEIGHTS, CONFIG = "short_term.safetensors", "short_term.json"
VALIDATION_K = 10


@dataclass(frozen=True)
class _StageSettings:
    """All settings on which the result of the stage depends."""

    settings: ShortTermSettings
    max_history: int


def train_short_term(workspace: Workspace, data: Stage, settings: ShortTermSettings, *, max_history: int) -> Stage:
    """Runs the stage "short_term": trains the short-term encoder, and stores it in the workspace.

    An interrupted training resumes from its checkpoint, if `workspace.resume` is true.

    Args:
        workspace: The folder that stores the results of all stages.
        data: The result of `prepare_data`: the checked data and its split.
        settings: The encoder's sizes, and how it is trained. The width must be above 0.
        max_history: Number of most recent items of a history that the encoder reads.

    Returns:
        The finished stage. Its result is in the folder `Stage.path`; `load_short_term` reads it.
    """

    def write(directory: Path, checkpoints: Path) -> None:
        dataset = load_prepared(data)
        encoder = fit_short_term(
            load_split(data),
            len(dataset.items),
            settings,
            checkpoints,
            workspace.tensorboard,
            max_history=max_history,
            exclude_history=load_repeats(data).exclude_history,
            disliked_types=dataset.disliked_types,
        )
        save_file(encoder.state_dict(), directory / WEIGHTS)
        (directory / CONFIG).write_text(json.dumps(asdict(encoder.config)), encoding="utf-8")

    return workspace.train(NAME, inputs=[data], settings=_StageSettings(settings, max_history), write=write)


def fit_short_term(
    split: Split,
    num_items: int,
    settings: ShortTermSettings,
    checkpoints: Path,
    tensorboard: Path,
    *,
    max_history: int,
    exclude_history: bool = True,
    disliked_types: Sequence[int] = (),
) -> ShortTermEncoder:
    """Trains a short-term encoder, on a GPU if there is one.

    The result has the weights with the best NDCG in validation; without validation users, the last weights.

    Args:
        split: The sequences to train on, and the users to validate with.
        num_items: N, the number of items.
        settings: The encoder's sizes, and how it is trained.
        checkpoints: The folder of this training's checkpoints.
        tensorboard: The folder of all TensorBoard files.
        max_history: Number of most recent items of a history that the encoder reads.
        exclude_history: Whether recommendation lists in validation leave out the items of the user's history.
        disliked_types: The numbers of the event types that are dislikes; see
            `training.evaluation.rank_holdout.rank_holdout`.

    Returns:
        The trained encoder, on the CPU and in evaluation mode.
    """
    torch.manual_seed(settings.seed)
    model = ShortTermEncoder(short_term_config(settings, num_items=num_items, max_history=max_history))
    validate = _validation(model, split, settings, exclude_history, disliked_types)
    return continue_short_term(model, split.train, settings, checkpoints, tensorboard, name=NAME, validate=validate)


def continue_short_term(
    model: ShortTermEncoder,
    sequences: Sequences,
    settings: ShortTermSettings,
    checkpoints: Path,
    tensorboard: Path,
    *,
    name: str,
    validate: Callable[[], float] | None = None,
) -> ShortTermEncoder:
    """Trains a short-term encoder from the weights that it has, on a GPU if there is one.

    Args:
        model: The encoder, which is changed.
        sequences: Training sequences of item_index.
        settings: How the encoder is trained. The sizes are those of `model`.
        checkpoints: The folder of this training's checkpoints.
        tensorboard: The folder of all TensorBoard files.
        name: Name of the training, for the progress display and TensorBoard.
        validate: Returns the score of the model's current weights, higher is better; None for no validation.

    Returns:
        The encoder, on the CPU and in evaluation mode. It has the weights with the best score; without validation, the
        last weights.
    """
    device = training_device()
    model.to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True
    )
    sizes = model.config
    work = short_term_work(sequences, sizes.num_items, settings, max_history=sizes.max_history, device=device)
    work = replace(work, validate=validate)
    train(name, model, optimizer, work, _schedule(settings), checkpoints=checkpoints, tensorboard=tensorboard)
    return model.eval().cpu()


def _schedule(settings: ShortTermSettings) -> Schedule:
    return Schedule(
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        warmup_share=0.03,
        gradient_clip=5.0,
        checkpoint_every_steps=settings.checkpoint_every_steps,
        validate_every_epochs=settings.validate_every_epochs,
        patience=settings.patience,
        accumulate=settings.accumulate,
    )


def short_term_work(
    sequences: Sequences, num_items: int, settings: ShortTermSettings, *, max_history: int, device: torch.device
) -> Work[DecoderBatch]:
    """Returns the functions with which `training.runtime.loop.train` trains a short-term encoder.

    They make batches, split them, and compute losses. There is no function for validation; the caller may add one.

    Args:
        sequences: Training sequences of item_index.
        num_items: N, the number of items.
        settings: The encoder's sizes, and how it is trained.
        max_history: Number of most recent items of a history that the encoder reads.
        device: The model's device.
    """
    data = SeqData(
        sequences,
        max_history=max_history,
        batch_size=settings.batch_size,
        batch_targets=settings.batch_targets,
        seed=settings.seed,
    )
    draws = settings.negatives if num_items > settings.negatives else 0
    popularity_N = item_popularity(sequences, num_items)
    shares_N = torch.from_numpy((popularity_N / max(popularity_N.sum(), 1)).astype(np.float32)).to(device)

    def batches(epoch: int) -> Iterator[DecoderBatch]:
        for number, windows in enumerate(data.epoch(epoch)):
            rng = np.random.default_rng((settings.seed, epoch, number))
            yield DecoderBatch.from_windows(windows, rng.integers(0, num_items, draws))

    def losses(model: nn.Module, batch: DecoderBatch, _done: float) -> Mapping[str, Tensor]:
        batch, sampled = batch.to(device), None
        if draws:
            sampled = SampledItems.from_batch(batch.items_X, shares_N, targets=batch.num_targets, draws=draws)
        windows = batch.windows
        return {"loss": model(windows.history_BT, windows.targets_BT, sampled, windows.weights_BT)}

    return Work(data.num_batches, batches, losses, split=DecoderBatch.split)


def _validation(
    model: ShortTermEncoder,
    split: Split,
    settings: ShortTermSettings,
    exclude_history: bool,
    disliked_types: Sequence[int],
) -> Callable[[], float] | None:
    """Returns a function that computes NDCG@10 of the current weights; None if no user can be validated with."""
    if not len(split.validation):
        return None
    holdout = split.validation.sample(settings.validation_users, seed=settings.seed)

    def validate() -> float:
        lists_UK = rank_by_short_term(
            model.eval(), holdout, k=VALIDATION_K, exclude_history=exclude_history, disliked_types=disliked_types
        )
        return ndcg_at_k(ranks_of_targets(lists_UK, holdout.targets_U), k=VALIDATION_K)

    return validate


def load_short_term(stage: Stage) -> ShortTermEncoder:
    """Reads the encoder that `train_short_term` saved. It is on the CPU and in evaluation mode."""
    encoder = ShortTermEncoder(ShortTermConfig(**json.loads((stage.path / CONFIG).read_text(encoding="utf-8"))))
    encoder.load_state_dict(load_file(stage.path / WEIGHTS))
    return encoder.eval()


if __name__ == "__main__":
    from rqrec.training.cli import stage_command  # here, because cli imports this module

    stage_command(lambda run: run.short_term, __doc__)
