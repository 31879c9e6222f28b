"""The first stages of a retraining: the data, and the features and semantic IDs of all items.

Their results have the files of the full training's stages, so the same functions read them.

Shapes: N items, E feature columns.
"""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.numpy import save_file

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.item_features import read_item_features
from rqrec.models.bundle.layout import FEATURIZER, TOKENIZER_WEIGHTS
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.training import tokenize_items, train_rqvae
from rqrec.training.data.dataset import FilesChanged
from rqrec.training.data.prepare import CODE_VERSION, source_files, write_prepared
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.splits import user_sequences
from rqrec.training.data.splitting.repeats import Repeats, training_share
from rqrec.training.data.splitting.settings import SplitSettings
from rqrec.training.evaluation.semantic_id_health import CollapsedSemanticIds, codebook_figures
from rqrec.training.features import features as item_features
from rqrec.training.features.features import load_features
from rqrec.training.retrain.new_items import features_of, with_new_codes
from rqrec.training.retrain.sources import read_sources
from rqrec.training.runtime.workspace import Stage, Workspace, stage_key

DATA, FEATURES, RQVAE, TOKENS = "retrain_data", "retrain_features", "retrain_rqvae", "retrain_semantic_ids"
NEW_ITEMS, TIMES = "new_items.parquet", "times.json"


@dataclass(frozen=True)
class _Sources:
    """The key of the data: the settings, the time of reading, and name, bytes and time of each file."""

    settings: DatasetSettings
    files: tuple[tuple[str, tuple[tuple[str, int, int], ...]], ...]
    until_s: int


@dataclass(frozen=True)
class _NoSettings:
    """The settings of a stage that has none."""


def read_data(workspace: Workspace, parent: Bundle, sources: Sequence[str], settings: DatasetSettings) -> Stage:
    """Runs the stage "retrain_data": reads the sources, and joins them with the items of the bundle.

    Interactions in the future are left out. The sources are read again once the time of one of them has come.

    Args:
        workspace: The folder that stores the results of all stages.
        parent: The bundle from which the retraining goes on.
        sources: Folders, or MovieLens releases.
        settings: How files are read, and what ratings and event types mean.

    Returns:
        The finished stage; `load_prepared` reads its result.

    Raises:
        DataError: If a source cannot be used.
        FilesChanged: If its files changed while they were read.
    """

    def files() -> tuple[tuple[str, tuple[tuple[str, int, int], ...]], ...]:
        return tuple((one, source_files(replace(settings, source=one, interactions="", items=""))) for one in sources)

    before, inputs = files(), [as_stage(parent)]
    now = _Sources(settings, before, int(time.time()))
    key = _stored_key(workspace.root / DATA, inputs, now) or now

    def write(directory: Path) -> None:
        report = DataReport()
        read = read_sources(sources, parent, settings, data_dir=workspace.data_dir, report=report, until_s=key.until_s)
        if files() != before:
            raise FilesChanged("the files of the sources changed while they were read: run the same command again")
        sequences, excludes = user_sequences(read.dataset), parent.manifest.exclude_history
        repeats = Repeats(0.0, training_share(sequences), excludes, has_types=bool(parent.manifest.event_types))
        write_prepared(directory, read.dataset, SplitSettings(held_out_items=0), repeats, report)
        read.new_items.write_parquet(directory / NEW_ITEMS)
        (directory / TIMES).write_text(json.dumps({"until_s": key.until_s, "due_s": read.due_s}), encoding="utf-8")

    return workspace.run(DATA, inputs=inputs, settings=key, write=write, version=CODE_VERSION)


def _stored_key(folder: Path, inputs: list[Stage], now: _Sources) -> _Sources | None:
    """Returns the key of the stored result if it is that of the same files, and nothing that it left out is due."""
    try:
        stored = json.loads((folder / TIMES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    key = replace(now, until_s=stored["until_s"])
    is_due = stored["due_s"] is not None and stored["due_s"] <= now.until_s
    return key if not is_due and Stage(folder, stage_key(inputs, key, CODE_VERSION)).is_current else None


def make_features(workspace: Workspace, parent: Bundle, data: Stage) -> Stage:
    """Runs the stage "retrain_features": the features of the bundle's items, followed by those of new items.

    Args:
        workspace: The folder that stores the results of all stages.
        parent: The bundle from which the retraining goes on.
        data: The result of `read_data`.

    Returns:
        The finished stage; `load_features` reads its result.
    """

    def write(directory: Path) -> None:
        new_items, known_RE = pl.read_parquet(data.path / NEW_ITEMS, glob=False), read_item_features(parent)
        new_ME = features_of(new_items, ItemTokenizer(parent)) if len(new_items) else known_RE[:0]
        save_file({"features_NE": np.concatenate([known_RE, new_ME])}, directory / item_features.FEATURES)
        shutil.copyfile(parent.path / FEATURIZER, directory / item_features.FEATURIZER)

    return workspace.run(FEATURES, inputs=[as_stage(parent), data], settings=_NoSettings(), write=write)


def copy_rqvae(workspace: Workspace, parent: Bundle) -> Stage:
    """Runs the stage "retrain_rqvae": copies the bundle's RQ-VAE, which a retraining does not change.

    Args:
        workspace: The folder that stores the results of all stages.
        parent: The bundle from which the retraining goes on.

    Returns:
        The finished stage; `load_rqvae` reads its result.
    """

    def write(directory: Path) -> None:
        shutil.copyfile(parent.path / TOKENIZER_WEIGHTS, directory / train_rqvae.WEIGHTS)
        (directory / train_rqvae.CONFIG).write_text(json.dumps(parent.manifest.tokenizer), encoding="utf-8")

    return workspace.run(RQVAE, inputs=[as_stage(parent)], settings=_NoSettings(), write=write)


def tokenize_new_items(workspace: Workspace, parent: Bundle, features: Stage) -> Stage:
    """Runs the stage "retrain_semantic_ids": copies the IDs of the bundle's items, and gives new items theirs.

    Args:
        workspace: The folder that stores the results of all stages.
        parent: The bundle from which the retraining goes on.
        features: The result of `make_features`.

    Returns:
        The finished stage; `load_semantic_ids` reads its result.

    Raises:
        CollapsedSemanticIds: If more items have equal codes than the collision level can tell apart.
    """

    def write(directory: Path) -> None:
        known_RL, size = parent.learned.codes_RL, parent.manifest.codebook_size
        new_ME = load_features(features).features_NE[len(known_RL) :]
        new_MC = ItemTokenizer(parent).codes(new_ME) if len(new_ME) else known_RL[:0, :-1]
        codes_NL = with_new_codes(known_RL, new_MC)
        if codes_NL.max() >= size:
            raise CollapsedSemanticIds(
                f"more than {size} items have equal codes, and the collision level cannot tell them apart: run a full "
                "training (rqrec train)"
            )
        arrays = {"codes_NL": codes_NL, "codebook_size": np.array(size)}
        save_file(arrays, directory / tokenize_items.CODES)
        figures = codebook_figures(codes_NL[:, :-1], codebook_size=size)
        (directory / tokenize_items.FIGURES).write_text(json.dumps(figures, indent=2), encoding="utf-8")

    return workspace.run(TOKENS, inputs=[as_stage(parent), features], settings=_NoSettings(), write=write)


def as_stage(parent: Bundle) -> Stage:
    """Returns a bundle as an input of stages: its folder, and its version as the key."""
    return Stage(parent.path, parent.manifest.version)
