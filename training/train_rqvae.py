"""The stage "rqvae": trains the RQ-VAE on item features.

Run it as `rqrec train-rqvae rqvae_ml25m.gin`. The stages before it run first, if their results are not stored.

Shapes: N items, E feature columns, B items of one step.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass as settings_dataclass
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rqrec.models.tokenizer.config import FeatureBlock, RqVaeConfig
from rqrec.models.tokenizer.quantize import QuantizeMode
from rqrec.models.tokenizer.rqvae import RqVae, RqVaeComputedLosses
from rqrec.training.codebooks import AUTO, CodebookSize, NumLevels, choose_codebooks
from rqrec.training.evaluation.rqvae_quality import measure_rqvae
from rqrec.training.features.distinct import groups_of_equal_items
from rqrec.training.features.features import load_features
from rqrec.training.runtime.device import training_device
from rqrec.training.runtime.loop import Work, train
from rqrec.training.runtime.progress import progress
from rqrec.training.runtime.schedule import Schedule
from rqrec.training.runtime.workspace import Stage, Workspace

NAME = "rqvae"
WEIGHTS = "rqvae.safetensors"
CONFIG = "rqvae.json"
DEAD_CODE_BATCH = 4096
MEASURED_ITEMS, MEASURE_EVERY_STEPS = 2048, 20  # this costs 3 % of a training with batches of 1,024
REPLACED = "replaced_codes"  # the curve
CODE_VERSION = 2  # 2: training starts at principal components


@settings_dataclass(frozen=True)
class RqVaeSettings:
    """Settings of the RQ-VAE, which turns item features into codes: its sizes, and how it is trained.

    Attributes:
        hidden_widths: Widths of the encoder's hidden layers.
        embed_dim: Width of the latent vector.
        codebook_size: Number of codes per level, above 1; or "auto" to choose it by the number of items, where items
            with equal features count once (see `training.codebooks.choose_codebooks`).
        num_levels: Number of levels of residual quantisation, without the collision level; or "auto" to choose it in
            the same way.
        mode: How gradients pass the choice of a code: "gumbel_softmax", "straight_through" or "rotation_trick".
        commitment_weight: Weight of the commitment loss.
        start_temperature: Temperature of the Gumbel-softmax at the start of training.
        end_temperature: Temperature at the end of training. The temperature falls geometrically.
        steps: Number of optimiser steps, rounded up to whole epochs.
        batch_size: Number of items in one step.
        learning_rate: Peak learning rate of AdamW.
        weight_decay: Weight decay of AdamW.
        dead_code_every_steps: Steps between two replacements of dead codes, which few or no items of a random sample
            use. In the last quarter of training, codes are not replaced.
        checkpoint_every_steps: Steps between two checkpoints.
        accumulate: Number of parts of a batch that each rank (training process) computes one after the other. With more
            parts, less memory is needed.
        seed: Seed of weights, k-means, batches and noise.
    """

    hidden_widths: tuple[PositiveInt, ...] = (512, 256, 128)
    embed_dim: PositiveInt = 128
    codebook_size: CodebookSize = AUTO
    num_levels: NumLevels = AUTO
    mode: QuantizeMode = QuantizeMode.GUMBEL_SOFTMAX
    commitment_weight: NonNegativeFloat = 0.25
    start_temperature: PositiveFloat = 1.0
    end_temperature: PositiveFloat = 0.1
    steps: PositiveInt = 400
    batch_size: PositiveInt = 1024
    learning_rate: PositiveFloat = 3e-4
    weight_decay: NonNegativeFloat = 1e-4
    dead_code_every_steps: PositiveInt = 100
    checkpoint_every_steps: PositiveInt = 500
    accumulate: PositiveInt = 1
    seed: NonNegativeInt = 0


def train_rqvae(workspace: Workspace, features: Stage, settings: RqVaeSettings) -> Stage:
    """Runs the stage "rqvae": trains the RQ-VAE on the items' features, and stores it in the workspace.

    An interrupted training resumes from its checkpoint, if `workspace.resume` is true.

    Args:
        workspace: The folder that stores the results of all stages.
        features: The result of `make_features`: the features of all items.
        settings: The RQ-VAE's sizes, and how it is trained.

    Returns:
        The finished stage. Its result is in the folder `Stage.path`; `load_rqvae` reads it.
    """

    def write(directory: Path, checkpoints: Path) -> None:
        loaded = load_features(features)
        num_distinct = int(groups_of_equal_items(loaded.features_NE).max()) + 1
        config = rqvae_config(settings, loaded.blocks, num_distinct=num_distinct)
        features_NE = torch.from_numpy(loaded.features_NE)
        model = fit_rqvae(config, features_NE, settings, checkpoints, workspace.tensorboard)
        save_file(model.state_dict(), directory / WEIGHTS)
        (directory / CONFIG).write_text(json.dumps(asdict(config)), encoding="utf-8")

    return workspace.train(NAME, inputs=[features], settings=settings, write=write, version=CODE_VERSION)


def rqvae_config(settings: RqVaeSettings, blocks: tuple[FeatureBlock, ...], *, num_distinct: int) -> RqVaeConfig:
    """Makes the configuration of an RQ-VAE. Chooses its codebook size and number of levels if they are "auto".

    Args:
        settings: The RQ-VAE's sizes, and how it is trained.
        blocks: The blocks of feature columns, in the order of the columns.
        num_distinct: Number of different feature vectors; items with equal features count once.
    """
    codebooks = choose_codebooks(num_distinct, size=settings.codebook_size, levels=settings.num_levels)
    return RqVaeConfig(
        blocks=blocks,
        hidden_widths=settings.hidden_widths,
        embed_dim=settings.embed_dim,
        codebook_size=codebooks.size,
        num_levels=codebooks.levels,
        mode=settings.mode,
        commitment_weight=settings.commitment_weight,
    )


def fit_rqvae(
    config: RqVaeConfig, features_NE: Tensor, settings: RqVaeSettings, checkpoints: Path, tensorboard: Path
) -> RqVae:
    """Trains an RQ-VAE, on a GPU if there is one.

    Args:
        config: The RQ-VAE's configuration.
        features_NE: Item features by item_index, float32, shape (N, E).
        settings: The RQ-VAE's sizes, and how it is trained.
        checkpoints: The folder of this training's checkpoints.
        tensorboard: The folder of all TensorBoard files.

    Returns:
        The trained model, on the CPU and in evaluation mode.
    """
    device = training_device()
    torch.manual_seed(settings.seed)
    model = RqVae(config).to(device)
    features_NE = features_NE.to(device)
    with progress("k-means of the first codebooks"):
        model.initialise(features_NE, seed=settings.seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    work = rqvae_work(model, features_NE, settings)
    train(
        NAME,
        model,
        optimizer,
        work,
        Schedule(
            epochs=-(-settings.steps // work.num_batches(0)),
            learning_rate=settings.learning_rate,
            warmup_share=0.02,
            gradient_clip=1.0,
            checkpoint_every_steps=settings.checkpoint_every_steps,
            accumulate=settings.accumulate,
        ),
        checkpoints=checkpoints,
        tensorboard=tensorboard,
    )
    return model.eval().cpu()


def rqvae_work(model: RqVae, features_NE: Tensor, settings: RqVaeSettings) -> Work[Tensor]:
    """Returns the functions with which `training.runtime.loop.train` trains an RQ-VAE.

    They make batches, split them, and compute losses. The function `after_step` replaces dead codes, which few or no
    items of a random sample use. It does so every `settings.dead_code_every_steps` steps, but not in the last quarter
    of the training. The function `measure` measures the model every 20 steps on a fixed random sample of items, and
    tells how many codes were replaced since.

    Args:
        model: The RQ-VAE to train.
        features_NE: Item features by item_index, float32, shape (N, E), on the model's device.
        settings: The RQ-VAE's sizes, and how it is trained.
    """
    device = features_NE.device
    replaced = 0  # since the last measurement
    cooling = settings.end_temperature / settings.start_temperature

    def epoch_batches(epoch: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + epoch)
        rows: tuple[Tensor, ...] = torch.randperm(len(features_NE), generator=generator).split(settings.batch_size)
        return rows

    def losses(replica: nn.Module, rows_B: Tensor, done: float) -> Mapping[str, Tensor]:
        computed: RqVaeComputedLosses = replica(
            features_NE[rows_B.to(device)], temperature=settings.start_temperature * cooling**done
        )
        return _shown_losses(computed)

    def after_step(step: int) -> None:
        nonlocal replaced
        if step % settings.dead_code_every_steps == 0 and step < 0.75 * settings.steps:
            generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
            chosen = torch.randperm(len(features_NE), generator=generator)[:DEAD_CODE_BATCH].to(device)
            replaced += model.replace_dead_codes(features_NE[chosen])

    generator = torch.Generator().manual_seed(settings.seed)
    measured = torch.randperm(len(features_NE), generator=generator)[:MEASURED_ITEMS].to(device)

    def measure(step: int) -> Mapping[str, float]:
        nonlocal replaced
        if step % MEASURE_EVERY_STEPS:
            return {}
        found = {**measure_rqvae(model, features_NE[measured]), REPLACED: float(replaced)}
        replaced = 0
        return found

    num_batches = -(-len(features_NE) // settings.batch_size)
    return Work(lambda _: num_batches, epoch_batches, losses, after_step=after_step, split=_split, measure=measure)


def _shown_losses(computed: RqVaeComputedLosses) -> Mapping[str, Tensor]:
    """Returns the losses and other figures of a step by name; "loss" is the one to minimise."""
    return {
        "loss": computed.loss,
        "reconstruction_loss": computed.reconstruction_loss,
        "rqvae_loss": computed.rqvae_loss,
        "p_unique_ids": computed.p_unique_ids,
        **{f"embs_norm_{level}": norm for level, norm in enumerate(computed.embs_norm.mean(0))},
    }


def _split(rows_B: Tensor, parts: int) -> list[tuple[Tensor, float]]:
    """Splits a batch. With fewer items than parts, the parts left over hold the first item with the weight 0."""
    return [(rows if len(rows) else rows_B[:1], len(rows) / len(rows_B)) for rows in rows_B.tensor_split(parts)]


def load_rqvae_config(stage: Stage) -> RqVaeConfig:
    """Reads the configuration of the RQ-VAE that `train_rqvae` saved."""
    return RqVaeConfig.from_fields(json.loads((stage.path / CONFIG).read_text(encoding="utf-8")))


def load_rqvae(stage: Stage) -> RqVae:
    """Reads the RQ-VAE that `train_rqvae` saved. The model is on the CPU and in evaluation mode."""
    model = RqVae(load_rqvae_config(stage))
    model.load_state_dict(load_file(stage.path / WEIGHTS))
    return model.eval()


if __name__ == "__main__":
    from rqrec.training.cli import stage_command  # here, because cli imports this module

    stage_command(lambda run: run.rqvae, __doc__)
