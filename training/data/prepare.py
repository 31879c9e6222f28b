"""The first stage: reads and checks raw data, and saves it as Parquet."""

import json
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pydantic.dataclasses import dataclass as settings_dataclass

from rqrec.training.data.dataset import DataError, Dataset
from rqrec.training.data.download import RELEASES
from rqrec.training.data.sources import load_dataset
from rqrec.training.data.splits import MIN_ITEMS_TO_LEARN, user_sequences
from rqrec.training.runtime.workspace import Stage, Workspace

ITEMS, INTERACTIONS, DESCRIPTION = "items.parquet", "interactions.parquet", "dataset.json"
MIN_ITEMS = 2


@settings_dataclass(frozen=True)
class DatasetSettings:
    """The data to train on.

    Attributes:
        source: A MovieLens release ("ml-100k", "ml-1m", "ml-25m", "ml-32m", "ml-latest-small", "ml-latest") or the
            path of a folder.
        drop_duplicates: Whether one of several equal interactions is kept; otherwise they are an error.
    """

    source: str = "ml-100k"
    drop_duplicates: bool = False


@dataclass(frozen=True)
class _Source:
    """The key of the raw data: the settings, and each file's name, size in bytes and modification time."""

    settings: DatasetSettings
    files: tuple[tuple[str, int, int], ...]


def prepare_data(workspace: Workspace, settings: DatasetSettings) -> Stage:
    """Runs the stage. Later stages read its result and never the raw files, so all of them see the same data.

    A later run reads a folder again if the size or modification time of a file has changed.

    Args:
        workspace: The folder of the run.
        settings: The data to train on.

    Raises:
        DataError: If the data cannot be used, or changed while it was read.
    """
    files = _files(settings.source)

    def write(directory: Path) -> None:
        dataset = load_dataset(settings.source, data_dir=workspace.data_dir, drop_duplicates=settings.drop_duplicates)
        if _files(settings.source) != files:
            raise DataError(f"the files of {settings.source} changed while they were read: run the same command again")
        _check_enough(dataset)
        dataset.items.write_parquet(directory / ITEMS)
        dataset.interactions.write_parquet(directory / INTERACTIONS)
        description = {"name": dataset.name, "fingerprint": dataset.fingerprint}
        (directory / DESCRIPTION).write_text(json.dumps(description, indent=2), encoding="utf-8")

    return workspace.run("data", inputs=[], settings=_Source(settings, files), write=write)


def _check_enough(dataset: Dataset) -> None:
    """Raises an error if there is nothing to learn from, before anything is trained."""
    if len(dataset.items) < MIN_ITEMS:
        raise DataError(f"a catalogue needs at least {MIN_ITEMS} items, got {len(dataset.items)}: add items")
    if int(user_sequences(dataset).lengths_U.max()) < MIN_ITEMS_TO_LEARN:
        raise DataError(
            f"training needs at least one user with {MIN_ITEMS_TO_LEARN} interactions, but every user has 1: check "
            "that user_id names the same user in several rows"
        )


def _files(source: str) -> tuple[tuple[str, int, int], ...]:
    """Returns name, size and modification time of each file of a folder; nothing for a release, which never changes."""
    paths = [] if source in RELEASES else [path for path in sorted(Path(source).glob("*")) if path.is_file()]
    return tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths)


def load_prepared(stage: Stage) -> Dataset:
    """Reads the data set that `prepare_data` saved."""
    description = json.loads((stage.path / DESCRIPTION).read_text(encoding="utf-8"))
    return Dataset(
        description["name"],
        pl.read_parquet(stage.path / ITEMS),
        pl.read_parquet(stage.path / INTERACTIONS),
        description["fingerprint"],
    )
