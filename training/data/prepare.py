"""The first stage: reads, checks and splits raw data, and saves the result, which later stages map into memory."""

import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from rqrec.training.data.columns import Column, read_columns, write_columns
from rqrec.training.data.compact.mapped_table import map_table, write_table
from rqrec.training.data.dataset import USER_ID, WEIGHT, DataError, Dataset, FilesChanged
from rqrec.training.data.download import RELEASES
from rqrec.training.data.reading.formats import parts_of
from rqrec.training.data.reading.names import TABLES
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.sources import load_dataset
from rqrec.training.data.splits import MIN_ITEMS_TO_LEARN, Split, user_sequences
from rqrec.training.data.splitting.leave_one_out import can_hold_out
from rqrec.training.data.splitting.repeats import Repeats, measure_repeats
from rqrec.training.data.splitting.settings import SplitSettings
from rqrec.training.data.splitting.split import split_users
from rqrec.training.runtime.progress import progress
from rqrec.training.runtime.workspace import Stage, Workspace

ITEMS, INTERACTIONS, USERS = "items.parquet", "interactions", "users.parquet"
DESCRIPTION, REPORT = "dataset.json", "report.txt"
MIN_ITEMS = 2
CODE_VERSION = 7  # 6: interactions are mapped arrays; 7: linked folders, ratings with marks, times beyond int64
logger = logging.getLogger("rqrec")


@dataclass(frozen=True)
class _Source:
    """The key of the raw data: the settings, and each file's name, size in bytes and modification time."""

    settings: DatasetSettings
    split: SplitSettings
    files: tuple[tuple[str, int, int], ...]


def prepare_data(workspace: Workspace, settings: DatasetSettings, split: SplitSettings | None = None) -> Stage:
    """Runs the stage "data": reads, checks and splits the raw data, and stores the result in the workspace.

    Later stages read this result and never the raw files, so all of them see the same data and the same split. The
    stage is skipped if its settings and the names, sizes and modification times of the input files have not changed.

    Args:
        workspace: The folder that stores the results of all stages.
        settings: The source of the data, and how the files are read.
        split: What is held out from training; None to hold out each user's last two items.

    Returns:
        The finished stage. Its result is in the folder `Stage.path`; `load_prepared`, `load_split` and the other
        `load_…` functions read it.

    Raises:
        DataError: If the data or the split cannot be used, or the files changed while they were read.
    """
    files, split = source_files(settings), split or SplitSettings()

    def write(directory: Path) -> None:
        report = DataReport()
        with progress("reading"):
            dataset = load_dataset(settings.source, data_dir=workspace.data_dir, settings=settings, report=report)
            _check_enough(dataset)
        with progress("splitting"):
            parts = split_users(dataset, split)
            repeats = measure_repeats(parts, split)
        _note_split(dataset, parts, split, report)
        report.note(repeats.line)
        if source_files(settings) != files:
            raise FilesChanged(
                f"the files of {settings.source} changed while they were read: run the same command again"
            )
        write_prepared(directory, dataset, split, repeats, report)

    key = _Source(settings, split, files)
    return workspace.run("data", inputs=[], settings=key, write=write, version=CODE_VERSION)


def write_prepared(
    directory: Path, dataset: Dataset, split: SplitSettings, repeats: Repeats, report: DataReport
) -> None:
    """Writes a data set, so that `load_prepared` and the other `load_…` functions of this file read it.

    Args:
        directory: The folder of the stage's result.
        dataset: The checked data set.
        split: What is held out from training.
        repeats: How often users choose an item again.
        report: What was read, dropped or changed. It is logged too.
    """
    dataset.items.write_parquet(directory / ITEMS)
    write_table(dataset.interactions, directory / INTERACTIONS)
    dataset.user_ids.to_frame().write_parquet(directory / USERS)
    description = {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "event_types": dataset.event_types,
        "excluding_types": dataset.excluding_types,
        "disliking_types": dataset.disliking_types,
        "split": asdict(split),
        "repeats": asdict(repeats),
    }
    (directory / DESCRIPTION).write_text(json.dumps(description, indent=2), encoding="utf-8")
    write_columns(report.columns, directory)
    (directory / REPORT).write_text("".join(f"{line}\n" for line in report.lines), encoding="utf-8")
    for line in report.lines:
        logger.info("data: %s", line)


def _check_enough(dataset: Dataset) -> None:
    """Raises an error if there is nothing to learn from, before anything is trained."""
    if len(dataset.items) < MIN_ITEMS:
        raise DataError(f"a catalogue needs at least {MIN_ITEMS} items, got {len(dataset.items)}: add items")
    if int(user_sequences(dataset).lengths_U.max()) < MIN_ITEMS_TO_LEARN:
        raise DataError(
            f"training needs at least one user with {MIN_ITEMS_TO_LEARN} interactions, but every user has 1: check "
            "that user_id names the same user in several rows"
        )
    if not user_sequences(dataset).has_target:
        raise DataError(
            "training needs a user with an interaction before one that is no dislike, but there is none: correct the "
            "ratings or event types, or set DatasetSettings.disliked_below or event_types"
        )


def _note_split(dataset: Dataset, parts: Split, split: SplitSettings, report: DataReport) -> None:
    """Says before anything is trained how many users the evaluation asks about."""
    num_evaluated, num_users, needed = len(parts.test), dataset.num_users, split.held_out_items + 1
    if split.kind == "time":
        report.note(
            f"split by time: {parts.is_train_I.sum():,} of {len(dataset.interactions):,} interactions are trained on, "
            f"and {num_evaluated:,} of {num_users:,} users are evaluated ({len(parts.validation):,} in validation)"
        )
    elif not split.held_out_items:
        report.note("no user is evaluated, and all interactions are trained on (SplitSettings.held_out_items = 0)")
    elif not num_evaluated:
        report.note(
            f"no user is evaluated: a user needs {needed} interactions{_which(dataset)}, and somebody must keep "
            f"{MIN_ITEMS_TO_LEARN} to train on. To hold out less, set SplitSettings.held_out_items = 1 (test only) and "
            "SplitSettings.held_out_users = 0.2 (of a fifth of the users)"
        )
    elif num_evaluated < num_users:
        too_short = num_users - int(can_hold_out(user_sequences(dataset), split.held_out_items).sum())
        reasons = [f"{too_short:,} with fewer than {needed} interactions{_which(dataset)}"] if too_short else []
        if split.held_out_users < 1:
            reasons.append(f"SplitSettings.held_out_users = {split.held_out_users}")
        elif split.held_out_items > 1:
            reasons[-1] += " (SplitSettings.held_out_items = 1 holds out less)"
        report.note(
            f"{num_users - num_evaluated:,} of {num_users:,} users are trained on and not evaluated: "
            f"{'; '.join(reasons)}"
        )


def _which(dataset: Dataset) -> str:
    return " (a first one, and two that are no dislikes)" if WEIGHT in dataset.interactions else ""


def source_files(settings: DatasetSettings) -> tuple[tuple[str, int, int], ...]:
    """Returns name, size and modification time of each file of a folder; nothing for a release, which never changes.

    Of the folders inside, only those that hold a table count: others may be a workspace, whose files change.

    Args:
        settings: The source, and the names of its files.
    """
    folder = Path(settings.source)
    if settings.source in RELEASES or not folder.is_dir():
        return ()
    entries = list(folder.iterdir())
    tables = [folder / name for name in (settings.interactions, settings.items) if name]
    tables += [entry for entry in entries if entry.is_dir() and entry.name.partition(".")[0].lower() in TABLES]
    paths = {entry for entry in entries if entry.is_file()} | {part for table in tables for part in parts_of(table)}
    files = [(os.path.relpath(path, folder), path.stat()) for path in sorted(paths)]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in files)


def load_prepared(stage: Stage) -> Dataset:
    """Reads the data set that `prepare_data` saved, without the ids of the users, which `load_user_ids` reads.

    The interactions are mapped into memory: their pages are read when they are used.
    """
    description = _description(stage)
    return Dataset(
        description["name"],
        pl.read_parquet(stage.path / ITEMS, glob=False),
        map_table(stage.path / INTERACTIONS),
        description["fingerprint"],
        tuple(description["event_types"]),
        tuple(description["excluding_types"]),
        tuple(description["disliking_types"]),
    )


def load_user_ids(stage: Stage) -> pl.Series:
    """Reads the ids of the users that `prepare_data` saved: strings, by user_index."""
    return pl.read_parquet(stage.path / USERS, glob=False)[USER_ID]


def load_columns(stage: Stage) -> list[Column]:
    """Reads the descriptions of input columns that `prepare_data` saved; a table shows them to the user.

    They cover all columns of the interactions file. Of the items file, they cover only the columns that were not read
    or have no values; `columns_of_items` describes the others.
    """
    return read_columns(stage.path)


def load_report(stage: Stage) -> list[str]:
    """Reads the report that `prepare_data` saved: one line for everything that was read, dropped or changed."""
    return (stage.path / REPORT).read_text(encoding="utf-8").splitlines()


def load_split(stage: Stage) -> Split:
    """Reads the data set that `prepare_data` saved, and divides it into training, validation and test.

    The settings of the split are saved with the data set.
    """
    return split_users(load_prepared(stage), SplitSettings(**_description(stage)["split"]))


def load_repeats(stage: Stage) -> Repeats:
    """Reads what `prepare_data` measured: how often users choose an item that is already in their own history."""
    return Repeats(**_description(stage)["repeats"])


def _description(stage: Stage) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads((stage.path / DESCRIPTION).read_text(encoding="utf-8"))
    return fields
