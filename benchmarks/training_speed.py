"""Measures how fast the networks of the default recipe train, and how much of the time is not matrix products.

    python -m benchmarks.training_speed --dataset /data/beauty

Each stage trains for some steps, and then again under PyTorch's profiler. The operators' own CPU time is divided into
matrix products (with attention, whose products are fused into it) and all other operators.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from benchmarks.support.machine import description
from rqrec.models.retriever.short_term_encoder import ShortTermEncoder
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.data.prepare import load_prepared
from rqrec.training.data.splits import Holdout, Split, leave_one_out, user_sequences
from rqrec.training.features.features import load_features
from rqrec.training.run import Run, RunSettings
from rqrec.training.runtime.config import DEFAULT_CONFIG, read_settings
from rqrec.training.runtime.progress import command_progress, set_up_output
from rqrec.training.runtime.workspace import open_workspace
from rqrec.training.tokenize_items import load_semantic_ids
from rqrec.training.train_decoder import fit_retriever
from rqrec.training.train_rqvae import RqVaeSettings, fit_rqvae, rqvae_config
from rqrec.training.train_short_term import fit_short_term, short_term_config

MATRIX_PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::_scaled_dot_product", "mkldnn")
SHOWN = 6


@dataclass(frozen=True)
class Speed:
    """The results for one stage.

    Attributes:
        items: Number of items trained on in the timed steps: rows of the RQ-VAE, predicted positions of the others.
        seconds: Duration of the timed steps in seconds.
        matrix_share: Share of the operators' time in matrix products, in [0, 1].
        slowest: The other operators with the largest shares.
    """

    items: int
    seconds: float
    matrix_share: float
    slowest: dict[str, float]


def measure(fit: Callable[[Path], object], items: int) -> Speed:
    """Times a training, and profiles the same training.

    Args:
        fit: Trains from the start, with checkpoints below the folder that it is given.
        items: Number of items that it trains on.
    """
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        fit(Path(folder) / "timed")
        seconds = time.perf_counter() - begin
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            fit(Path(folder) / "profiled")
    own = {event.key: float(event.self_cpu_time_total) for event in profiler.key_averages()}
    products = {name for name in own if name.startswith(MATRIX_PRODUCTS)}
    total = sum(own.values())
    others = sorted((time_of, name) for name, time_of in own.items() if name not in products)[: -SHOWN - 1 : -1]
    return Speed(
        items,
        seconds,
        sum(own[name] for name in products) / total,
        {name.removeprefix("aten::"): time_of / total for time_of, name in others},
    )


def rqvae_speed(run: Run, steps: int) -> Speed:
    """Measures stage one without its k-means initialisation.

    Args:
        run: A run whose features are computed.
        steps: Number of optimiser steps.
    """
    features = load_features(run.features)
    features_NE = torch.from_numpy(features.features_NE)
    settings = replace(run.settings.rqvae, steps=steps)
    config = rqvae_config(settings, features.blocks, num_distinct=len(features_NE))
    epochs = -(-steps // -(-len(features_NE) // settings.batch_size))

    def fit(folder: Path, settings: RqVaeSettings = settings) -> object:
        return fit_rqvae(config, features_NE, settings, folder / "checkpoints", folder / "tensorboard")

    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        fit(Path(folder), replace(settings, steps=1, batch_size=len(features_NE)))
        start = time.perf_counter() - begin
    speed = measure(fit, epochs * len(features_NE))
    return replace(speed, seconds=max(speed.seconds - start, 0.0))


def some_users(run: Run, num_users: int) -> Split:
    """Returns the split of a run with some of its training users, and without validation and test users.

    Args:
        run: A run whose data is prepared.
        num_users: The largest number of users.
    """
    split = leave_one_out(user_sequences(load_prepared(run.data)))
    nobody = np.zeros(len(split.validation), dtype=np.bool_)
    asked = Holdout(split.validation.histories.select(nobody), split.validation.targets_U[nobody])
    train = split.train.select(np.arange(len(split.train)) < num_users)
    return replace(split, train=train, validation=asked, test=asked)


def num_targets(split: Split) -> int:
    """Returns how many positions are predicted in an epoch: all but the first of each user."""
    return int(np.maximum(split.train.lengths_U - 1, 0).sum())


def short_term_speed(run: Run, steps: int) -> Speed:
    """Measures the training of the short-term encoder without validation, on as many users as the steps need.

    Args:
        run: A run whose data is prepared, with a short-term encoder.
        steps: Number of optimiser steps.
    """
    settings = replace(run.settings.short_term, epochs=1)
    split, max_history = some_users(run, steps * settings.batch_size), run.settings.decoder.max_history
    num_items = len(load_prepared(run.data).items)

    def fit(folder: Path) -> object:
        places = folder / "checkpoints", folder / "tensorboard"
        return fit_short_term(split, num_items, settings, *places, max_history=max_history)

    return measure(fit, num_targets(split))


def decoder_speed(run: Run, steps: int) -> Speed:
    """Measures the training of the retriever without validation, on as many users as the steps need.

    Its short-term encoder has random weights, which costs the same.

    Args:
        run: A run whose semantic IDs are computed.
        steps: Number of optimiser steps.
    """
    ids = load_semantic_ids(run.tokens)
    trie = SemanticIdTrie.build(ids.codes_NL, codebook_size=ids.codebook_size)
    features_NE = load_features(run.features).features_NE
    settings, short_term = replace(run.settings.decoder, epochs=1), run.settings.short_term
    split = some_users(run, steps * settings.batch_size)
    encoder = None
    if short_term.width:
        sizes = short_term_config(short_term, num_items=len(features_NE), max_history=settings.max_history)
        encoder = ShortTermEncoder(sizes)

    def fit(folder: Path) -> object:
        places = folder / "checkpoints", folder / "tensorboard"
        return fit_retriever(trie, features_NE, split, settings, *places, short_term=encoder)

    return measure(fit, num_targets(split))


def main() -> None:
    """Measures, and prints the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="a MovieLens release by name, or a folder")
    parser.add_argument("--steps", type=int, default=60, help="steps of each stage (default 60)")
    parser.add_argument("--work-dir", type=Path, help="default artifacts/accuracy/<name>/file, as the accuracy's is")
    parser.add_argument("--set", action="append", default=[], metavar="BINDING", help="a gin binding")
    arguments = parser.parse_args()
    set_up_output()
    source = f"DatasetSettings.source = {arguments.dataset!r}"
    settings = read_settings(RunSettings, [DEFAULT_CONFIG], [*arguments.set, source])
    root = arguments.work_dir or Path("artifacts/accuracy") / Path(arguments.dataset).name / "file"
    with command_progress("training speed"), open_workspace(root, Path("artifacts/data")) as workspace:
        run = Run(workspace, settings)
        found = {"RQ-VAE": rqvae_speed(run, arguments.steps)}
        if settings.short_term.width:
            found["short-term encoder"] = short_term_speed(run, arguments.steps)
        found["retriever"] = decoder_speed(run, arguments.steps)
    table = Table(title=f"{Path(arguments.dataset).name}; {description()}", title_justify="left")
    for column in ("stage", "items/s", "outside matrix products", "of which"):
        table.add_column(column)
    for name, speed in found.items():
        others = ", ".join(f"{operator} {share:.0%}" for operator, share in speed.slowest.items())
        table.add_row(name, f"{speed.items / speed.seconds:,.0f}", f"{1 - speed.matrix_share:.0%}", others)
    Console(width=160).print(table)
    print(
        json.dumps(
            {
                name: {
                    "items_per_s": round(speed.items / speed.seconds),
                    "outside_matrix_products": round(1 - speed.matrix_share, 3),
                }
                for name, speed in found.items()
            }
        )
    )


if __name__ == "__main__":
    main()
