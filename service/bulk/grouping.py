"""Makes histories of exported events, with memory for a part of the users at a time.

All events are divided among files by a hash of their user. So the events of a user are in one file, which fits into
memory, and there they are grouped. An event store keeps the events of a user with the latest times, sorted by time; it
sorts those of one time in the order in which they were stored, which is that of the exported files and of their rows.
"""

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from rqrec.models.errors import first_line
from rqrec.models.files import new_directory
from rqrec.service.bulk.source import HISTORY, USER_ID, InputFile, InvalidSource, parquet_files, schema_of
from rqrec.service.export_events.event_files import INTERACTIONS

EVENTS_IN_MEMORY = 2_000_000
ITEM_ID, TYPE, TIME, ROW, GROUP = "item_id", "event_type", "timestamp", "row", "group"


@dataclass(frozen=True)
class HistoryRules:
    """What a history keeps of a user's events.

    Attributes:
        stored_types: The event types that are kept. Users without such an event have an empty history.
        most_entries: How many events are kept, those with the latest times.
    """

    stored_types: Collection[str]
    most_entries: int


def events_folder(folder: Path) -> Path:
    """Returns the folder inside an export that has the events; the folder itself if there is no such folder.

    Args:
        folder: The folder of the export.
    """
    inside = folder / INTERACTIONS
    return inside if inside.is_dir() else folder


def event_files(folder: Path) -> list[InputFile]:
    """Lists the files of events in a folder that `rqrec export-events` has written, in the order of their events.

    Args:
        folder: The folder.

    Raises:
        InvalidSource: If there are none, or if they lack a column or have another type in it.
    """
    files = sorted(parquet_files(events_folder(folder)), key=lambda file: (file.path.name, str(file.path)))
    schema = schema_of(files)
    for name in (USER_ID, ITEM_ID, TYPE):
        if schema.get(name) != pl.String:
            got = schema.get(name, "no such column")
            raise InvalidSource(
                f"expected the column {name} of strings in {files[0].path}, got {got}: use rqrec export-events"
            )
    if not isinstance(schema.get(TIME), pl.Datetime):
        got = schema.get(TIME, "no such column")
        raise InvalidSource(
            f"expected the column {TIME} of times in {files[0].path}, got {got}: use rqrec export-events"
        )
    return files


def group_events(files: Sequence[InputFile], folder: Path, rules: HistoryRules) -> list[InputFile]:
    """Writes files with the columns `user_id` and `history` for all users who have events.

    Args:
        files: The files of events, in the order of their events.
        folder: The folder of the new files. If it is there, it is whole, and nothing is done.
        rules: What a history keeps of a user's events.

    Returns:
        The new files.

    Raises:
        InvalidSource: If there are no events, if one has no user or no item, if a file was changed, or if the new files
            cannot be written.
    """
    if not folder.exists():
        try:
            with new_directory(folder) as staged:
                _group(files, staged, rules)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise InvalidSource(
                f"the histories of the events cannot be made in {folder} ({first_line(error)}): free space there, or "
                "repair the file that is named, and run the same command again"
            ) from error
    return parquet_files(folder)


def _group(files: Sequence[InputFile], folder: Path, rules: HistoryRules) -> None:
    events = pl.scan_parquet([file.path for file in files], hive_partitioning=False, glob=False, row_index_name=ROW)
    num_groups = -(-_num_events(events, files[0].path) // EVENTS_IN_MEMORY)
    divided = folder / "events"
    events.select(USER_ID, ITEM_ID, TYPE, TIME, ROW, (pl.col(USER_ID).hash() % num_groups).alias(GROUP)).sink_parquet(
        pl.PartitionBy(divided, key=GROUP, include_key=False), mkdir=True, maintain_order=False
    )
    for file in files:
        file.check_unchanged()
    for number, group in enumerate(sorted(divided.iterdir())):
        _histories(group, rules).write_parquet(folder / f"part-{number:05d}.parquet")
        shutil.rmtree(group)
    divided.rmdir()


def _num_events(events: pl.LazyFrame, first: Path) -> int:
    counts = events.select(pl.len(), pl.col(USER_ID).null_count(), pl.col(ITEM_ID).null_count()).collect()
    total, *without = counts.row(0)
    if not total:
        raise InvalidSource(f"expected at least one event, found none in {first}: export the events first")
    for name, count in zip((USER_ID, ITEM_ID), without, strict=True):
        if count:
            raise InvalidSource(f"every event needs a {name}, {count} of {total} have none: repair the files")
    return int(total)


def _histories(group: Path, rules: HistoryRules) -> pl.DataFrame:
    """The histories of the users of a group."""
    entry = pl.struct(pl.col(ITEM_ID), pl.col(TYPE).alias("type"), (pl.col(TIME).dt.timestamp("us") / 1e6).alias("at"))
    kept = entry.filter(pl.col(TYPE).is_in(list(rules.stored_types))).tail(rules.most_entries)
    events = pl.read_parquet(group, hive_partitioning=False, glob=False).sort(USER_ID, TIME, ROW)
    return events.group_by(USER_ID, maintain_order=True).agg(kept.alias(HISTORY))
