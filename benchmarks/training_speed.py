"""Measures how fast the networks of a recipe train, and how much of the time is not matrix products.

    python -m benchmarks.training_speed --dataset /data/beauty
    python -m benchmarks.training_speed --synthetic decoder_ml25m.gin --steps 1000

The second form draws data of MovieLens-25M's shape: 25 million ratings of 162,541 users, and 62,423 movies. Each
network trains for a few steps under PyTorch's profiler, and then for more steps without it. The operators' own time, on
the device that computes, is divided into matrix products (with attention, whose products are fused into it) and all
other operators. On a machine with a GPU, `CUDA_VISIBLE_DEVICES=` in front measures the CPU.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.profiler import ProfilerActivity, profile

from benchmarks.support.machine import description
from benchmarks.support.step_clock import StepClock
from benchmarks.support.training_data import TrainingData
from rqrec.models.errors import UserError
from rqrec.models.retriever.short_term_encoder import ShortTermEncoder
from rqrec.training.data.sequences import SeqData
from rqrec.training.data.splits import Holdout, Sequences, Split
from rqrec.training.retriever.decoder_settings import DecoderSettings
from rqrec.training.retriever.short_term_settings import ShortTermSettings, short_term_config
from rqrec.training.run import Run, RunSettings
from rqrec.training.runtime.config import DEFAULT_CONFIG, read_settings
from rqrec.training.runtime.device import training_device
from rqrec.training.runtime.progress import command_progress, set_up_output
from rqrec.training.runtime.workspace import open_workspace
from rqrec.training.train_decoder import fit_retriever
from rqrec.training.train_rqvae import fit_rqvae, rqvae_config
from rqrec.training.train_short_term import fit_short_term

MATRIX_PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::_scaled_dot_product", "mkldnn")
SHOWN, PROFILED_STEPS = 6, 20
SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Training:
    """A training of one network that can be made shorter.

    Attributes:
        fit: Trains from the start for about so many steps, with checkpoints below the folder that it is given.
            Returns the number of items that it trained on: rows of the RQ-VAE, predicted positions of the others.
        all_steps: The number of steps of the whole recipe, if no training ends early.
    """

    fit: Callable[[Path, int], int]
    all_steps: int


@dataclass(frozen=True)
class Speed:
    """The results for one network.

    Attributes:
        items_per_s: Number of items trained on in a second.
        matrix_share: Share of the operators' time in matrix products, in [0, 1].
        slowest: The other operators with the largest shares.
        whole_h: Hours of the whole recipe at this speed, without validation.
    """

    items_per_s: float
    matrix_share: float
    slowest: dict[str, float]
    whole_h: float


def measure(training: Training, steps: int) -> Speed:
    """Profiles the first steps of a training, and then times others. What comes before the first step is not timed.

    Args:
        training: The training.
        steps: Number of steps to time; fewer are timed if the training has fewer.

    Raises:
        UserError: If the training has no more steps than are profiled.
    """
    on_gpu, few = training_device().type == "cuda", min(steps, PROFILED_STEPS)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler, tempfile.TemporaryDirectory() as folder:
        training.fit(Path(folder), few)
    clock = StepClock(few, few + steps)
    handle = register_optimizer_step_post_hook(clock)
    try:
        with tempfile.TemporaryDirectory() as folder:
            items = training.fit(Path(folder), few + steps)
    finally:
        handle.remove()
    operators = [event for event in profiler.key_averages() if event.device_type.name == "CPU"]  # not kernels
    own = {one.key: float(one.self_device_time_total if on_gpu else one.self_cpu_time_total) for one in operators}
    products = {name for name in own if name.startswith(MATRIX_PRODUCTS)}
    total = sum(own.values())
    others = sorted((time_of, name) for name, time_of in own.items() if name not in products)[: -SHOWN - 1 : -1]
    return Speed(
        items / clock.steps / clock.step_seconds(),
        sum(own[name] for name in products) / total,
        {name.removeprefix("aten::"): time_of / total for time_of, name in others},
        training.all_steps * clock.step_seconds() / SECONDS_PER_HOUR,
    )


def rqvae_training(data: TrainingData, settings: RunSettings) -> Training:
    """Returns the training of stage one.

    Args:
        data: What to train on.
        settings: The settings of the recipe.
    """
    features_NE, rqvae = torch.from_numpy(data.features_NE), settings.rqvae
    config = rqvae_config(rqvae, tuple(data.blocks), num_distinct=len(features_NE))
    steps_of_epoch = -(-len(features_NE) // rqvae.batch_size)

    def fit(folder: Path, steps: int) -> int:
        fit_rqvae(config, features_NE, replace(rqvae, steps=steps), folder / "checkpoints", folder / "tensorboard")
        return -(-steps // steps_of_epoch) * len(features_NE)

    return Training(fit, rqvae.steps)


def some_users(train: Sequences, share: float) -> Split:
    """Returns a split with the first users of the training sequences, and nobody to validate with.

    Args:
        train: The training sequences.
        share: The share of the targets that the users have, about.
    """
    targets_U = np.maximum(train.lengths_U - 1, 0)
    chosen = train.select(np.cumsum(targets_U) <= max(share * targets_U.sum(), targets_U[0]))
    nobody = Holdout(train.select(np.zeros(len(train), dtype=np.bool_)), np.empty(0, dtype=np.int32))
    return Split(chosen, nobody, nobody, np.ones(len(chosen.items_I), dtype=np.bool_))


def num_targets(split: Split) -> int:
    """Returns how many positions are predicted in an epoch: all but the first of each user."""
    return int(np.maximum(split.train.lengths_U - 1, 0).sum())


def steps_of_an_epoch(train: Sequences, settings: ShortTermSettings | DecoderSettings, *, max_history: int) -> int:
    """Returns the number of steps in a pass over the training sequences.

    Args:
        train: The training sequences.
        settings: The sizes of batches.
        max_history: The largest number of history items in a window.
    """
    size, targets = settings.batch_size, settings.batch_targets
    return SeqData(train, max_history=max_history, batch_size=size, batch_targets=targets, seed=0).num_batches(0)


def short_term_training(data: TrainingData, settings: RunSettings) -> Training:
    """Returns the training of the short-term encoder, without validation.

    Args:
        data: What to train on.
        settings: The settings of the recipe.
    """
    short_term, max_history = settings.short_term, settings.decoder.max_history
    batches = steps_of_an_epoch(data.train, short_term, max_history=max_history)

    def fit(folder: Path, steps: int) -> int:
        split = some_users(data.train, steps / batches)
        places = folder / "checkpoints", folder / "tensorboard"
        once = replace(short_term, epochs=1)
        fit_short_term(split, len(data.features_NE), once, *places, max_history=max_history)
        return num_targets(split)

    return Training(fit, short_term.epochs * batches)


def retriever_training(data: TrainingData, settings: RunSettings) -> Training:
    """Returns the training of the retriever, without validation.

    Its short-term encoder has random weights, which costs the same.

    Args:
        data: What to train on.
        settings: The settings of the recipe.
    """
    decoder, short_term, encoder = settings.decoder, settings.short_term, None
    if short_term.width:
        sizes = short_term_config(short_term, num_items=len(data.features_NE), max_history=decoder.max_history)
        encoder = ShortTermEncoder(sizes)
    batches = steps_of_an_epoch(data.train, decoder, max_history=decoder.max_history)

    def fit(folder: Path, steps: int) -> int:
        split = some_users(data.train, steps / batches)
        places = folder / "checkpoints", folder / "tensorboard"
        once = replace(decoder, epochs=1)
        fit_retriever(data.trie, data.features_NE, split, once, *places, short_term=encoder)
        return num_targets(split)

    return Training(fit, decoder.epochs * batches)


SHORT_TERM = "short-term encoder"
NETWORKS = {"RQ-VAE": rqvae_training, SHORT_TERM: short_term_training, "retriever": retriever_training}


def print_speeds(data: TrainingData, found: dict[str, Speed]) -> None:
    """Prints the table and one line of JSON.

    Args:
        data: What was trained on.
        found: The results by network.
    """
    device = f", {torch.cuda.get_device_name()}" if training_device().type == "cuda" else ""
    table = Table(title=f"{data.name}; {description()}{device}", title_justify="left")
    for column in ("stage", "items/s", "whole recipe, h", "outside matrix products", "of which"):
        table.add_column(column)
    for name, speed in found.items():
        others = ", ".join(f"{operator} {share:.0%}" for operator, share in speed.slowest.items())
        outside = f"{1 - speed.matrix_share:.0%}"
        table.add_row(name, f"{speed.items_per_s:,.0f}", f"{speed.whole_h:.2f}", outside, others)
    Console(width=180).print(table)
    rows = {
        name: {
            "items_per_s": round(speed.items_per_s),
            "outside_matrix_products": round(1 - speed.matrix_share, 3),
            "whole_h": round(speed.whole_h, 3),
        }
        for name, speed in found.items()
    }
    print(json.dumps(rows))


def measure_all(data: TrainingData, settings: RunSettings, steps: int, only: str | None = None) -> dict[str, Speed]:
    """Measures the networks of a recipe.

    Args:
        data: What to train on.
        settings: The settings of the recipe.
        steps: Steps to time of each training.
        only: The name of the one network to measure; None for all that the recipe has.
    """
    named = dict(NETWORKS)
    if not settings.short_term.width:
        del named[SHORT_TERM]
    return {name: measure(make(data, settings), steps) for name, make in named.items() if only in (None, name)}


def main() -> None:
    """Measures, and prints the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, nargs="?", default=DEFAULT_CONFIG, help="default decoder.gin")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--dataset", help="a MovieLens release by name, or a folder")
    source.add_argument("--synthetic", action="store_true", help="synthetic data of MovieLens-25M's shape")
    parser.add_argument("--steps", type=int, default=60, help="steps to time of each training (default 60)")
    parser.add_argument("--only", choices=NETWORKS, help="measure one network alone")
    parser.add_argument("--work-dir", type=Path, help="default artifacts/accuracy/<name>/file, as the accuracy's is")
    parser.add_argument("--set", action="append", default=[], metavar="BINDING", help="a gin binding")
    arguments = parser.parse_args()
    set_up_output()
    bindings = [*arguments.set, *([f"DatasetSettings.source = {arguments.dataset!r}"] if arguments.dataset else [])]
    try:
        settings = read_settings(RunSettings, [arguments.config], bindings)
        with command_progress("training speed"):
            if arguments.synthetic:
                data = TrainingData.like_ml25m()
            else:
                root = arguments.work_dir or Path("artifacts/accuracy") / Path(arguments.dataset).name / "file"
                with open_workspace(root, Path("artifacts/data")) as workspace:
                    data = TrainingData.of_run(Run(workspace, settings))
            found = measure_all(data, settings, arguments.steps, arguments.only)
    except UserError as error:
        parser.error(str(error))
    print_speeds(data, found)


if __name__ == "__main__":
    main()
