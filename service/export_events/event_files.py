"""The files of exported events, and the position in the stream up to which they hold all events.

    <folder>/interactions/day=2026-01-31/part-00000012.parquet

The day is that of the export, in UTC. The metadata of each file hold the position after its last event, so the events
and their position reach the disk by one rename. So does the id of the event store, because a position means nothing in
another one. The file with the highest number was written last.
"""

import fcntl
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl

from rqrec.models.errors import NotWritten, UserError
from rqrec.models.files import to_disk, write_file
from rqrec.service.events.event import Event
from rqrec.service.events.store import START
from rqrec.service.export_events.progress_log import ProgressLog

INTERACTIONS = "interactions"  # the name by which training finds the table
PARTS, LEFT_UNFINISHED = "day=*/part-*.parquet", "day=*/.*part-*"
POSITION, STORE = "rqrec.position", "rqrec.store"
EVENTS_IN_FILE = 100_000  # a file of today grows up to this number
TIME = pl.Datetime("us", "UTC")
# The names that training knows, which event has what in them, and their types.
COLUMNS: Mapping[str, tuple[str, pl.DataType | type[pl.DataType]]] = {
    "user_id": ("user_id", pl.String),
    "item_id": ("item_id", pl.String),
    "event_type": ("type", pl.String),
    "timestamp": ("at", TIME),
    "value": ("value", pl.Float64),
    "event_id": ("event_id", pl.String),
    "recommendation_id": ("recommendation_id", pl.String),
}


class Progress(NamedTuple):
    """Up to where the files hold all events.

    Attributes:
        position: The position in the stream after the last event; `START` if there are no files.
        store_id: The id of the event store; None if there are no files, or if a release without such ids wrote them.
    """

    position: str
    store_id: str | None


class ExportBusy(UserError):
    """Raised when another process exports to the same folder."""


class ForeignFile(UserError):
    """Raised when a file in the folder is none that an export wrote."""

    def __init__(self, file: Path) -> None:
        super().__init__(
            f"every {INTERACTIONS}/{PARTS} must be a file of this export, but {file} is not, or is damaged: move it "
            "away if the export did not write it, else restore a copy of it"
        )


class EventFiles:
    """A folder of exported events. Whoever changes it must hold its lock, `locked`.

    Args:
        folder: The folder, which `locked` makes if it is missing. The process's umask decides who may read the files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / INTERACTIONS

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder and holds its lock during the block. Removes what a killed process left unfinished.

        Raises:
            ExportBusy: If another process holds the lock.
        """
        missing = [folder for folder in (self._folder, *self._folder.parents) if not folder.exists()]
        self._folder.mkdir(parents=True, exist_ok=True)
        for folder in missing:
            to_disk(folder.parent)
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            _lock(handle, self._folder)
            for file in self._folder.glob(LEFT_UNFINISHED):
                file.unlink()
            yield
        finally:
            os.close(handle)  # this unlocks the folder, and so does the end of the process

    def progress(self) -> Progress:
        """Returns up to where the files hold all events."""
        last = self._last()
        return Progress(START, None) if last is None else _progress(last)

    def add(self, events: Sequence[Event], progress: Progress, *, today: date | None = None) -> None:
        """Adds events and their position: after a crash the files hold both or neither.

        Args:
            events: The events that follow the position of the files.
            progress: The position in the stream after these events, and the store.
            today: The day of the export; by default today in UTC.
        """
        day = self._folder / f"day={today or datetime.now(UTC).date()}"
        added, last = _as_table(events), self._last()
        if last is not None and last.parent == day:
            before = pl.read_parquet(last, hive_partitioning=False, glob=False)
            if len(before) + len(added) <= EVENTS_IN_FILE:
                _write(pl.concat([before, added]), last, progress)
                return
        number = 0 if last is None else _number_of(last) + 1
        _write(added, day / f"part-{number:08d}.parquet", progress)

    def forget(self, user_ids: Collection[str]) -> int:
        """Removes all events of some users from the files. The position stays.

        Args:
            user_ids: Ids of the users.

        Returns:
            How many events were removed.
        """
        removed, log, parts = 0, ProgressLog(), self._parts()
        is_kept = ~pl.col("user_id").is_in(list(user_ids))
        for number, file in enumerate(parts):
            log.tell("%d of %d files searched for events of forgotten users", number, len(parts))
            progress = _progress(file)
            num_events, num_kept = (
                pl.scan_parquet(file, hive_partitioning=False, glob=False)
                .select(pl.len(), is_kept.sum().alias("kept"))
                .collect()
                .row(0)
            )
            if num_kept < num_events:
                kept = pl.read_parquet(file, hive_partitioning=False, glob=False).filter(is_kept)
                _write(kept, file, progress)
                removed += num_events - num_kept
        return removed

    def _parts(self) -> list[Path]:
        """Returns all files, in the order in which they were begun."""
        return sorted(self._folder.glob(PARTS), key=_number_of)

    def _last(self) -> Path | None:
        return max(self._folder.glob(PARTS), key=_number_of, default=None)


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ExportBusy(f"another process exports to {folder}: wait until it has ended, or stop it") from error


def _as_table(events: Sequence[Event]) -> pl.DataFrame:
    columns = {}
    for name, (attribute, kind) in COLUMNS.items():
        values = [getattr(event, attribute) for event in events]
        if kind == TIME:
            values = [round(1e6 * at) for at in values]
            columns[name] = pl.Series(values, dtype=pl.Int64).cast(TIME)
        else:
            columns[name] = pl.Series(values, dtype=kind)
    return pl.DataFrame(columns)


def _write(table: pl.DataFrame, file: Path, progress: Progress) -> None:
    """Writes a file so that, after a crash at any moment, the old file or the new one is there as a whole."""
    store = {} if progress.store_id is None else {STORE: progress.store_id}
    metadata = {POSITION: progress.position, **store}
    try:
        write_file(file, lambda unfinished: table.write_parquet(unfinished, metadata=metadata))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise NotWritten.because(error, file) from error


def _progress(file: Path) -> Progress:
    try:
        metadata = pl.read_parquet_metadata(file)
        return Progress(metadata[POSITION], metadata.get(STORE))
    except (pl.exceptions.PolarsError, KeyError) as error:
        raise ForeignFile(file) from error


def _number_of(file: Path) -> int:
    number = file.stem.removeprefix("part-")
    if not number.isdecimal():
        raise ForeignFile(file)
    return int(number)
