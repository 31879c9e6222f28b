"""Reads the sources of a retraining: interactions, and items that the bundle does not have.

Shapes: N items.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from rqrec.models.bundle.bundle import Bundle
from rqrec.training.bundling.bundle_files import payload_column
from rqrec.training.data.build import build_dataset
from rqrec.training.data.checks import checked_items
from rqrec.training.data.dataset import (
    EVENT_TYPE,
    ITEM_ID,
    TIMESTAMP,
    TYPE,
    USER_ID,
    WEIGHT,
    DataError,
    Dataset,
    RawTables,
    fingerprint,
)
from rqrec.training.data.reading.attributes import usable_attributes
from rqrec.training.data.reading.formats import parts_of
from rqrec.training.data.reading.names import INTERACTIONS
from rqrec.training.data.reading.times import MICROSECONDS
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.sources import read_source
from rqrec.training.data.splitting.time_unit import whole_seconds
from rqrec.training.retrain.new_items import fitted_to_bundle

ROWS = (USER_ID, "item_index", TIMESTAMP, WEIGHT, TYPE)
EXPORTED = "day=*"  # the folders that `rqrec export-events` makes in `interactions`
# What export-events writes has names and formats of its own. Only what its event types mean is a matter of settings.
FILE_SETTINGS = ("interactions", "items", "columns", "separator", "encoding", "timestamp_format", "times", "has_header")


@dataclass(frozen=True)
class Read:
    """What the sources of a retraining hold.

    Attributes:
        dataset: All items, first those of the bundle in its order, and all interactions, with times in seconds. The
            event types have the numbers that the model of the bundle knows.
        new_items: The items that the bundle does not have, with all attributes of which features are computed.
        due_s: When the first of the interactions happens that were left out because they are in the future, in seconds
            since 1970. None if there are none.
    """

    dataset: Dataset
    new_items: pl.DataFrame
    due_s: int | None


def read_sources(
    sources: Sequence[str],
    bundle: Bundle,
    settings: DatasetSettings,
    *,
    data_dir: Path,
    report: DataReport,
    until_s: int,
) -> Read:
    """Reads all sources, and joins their items with those of the bundle.

    A source need not have all event types of the settings. An interaction that stands in several sources counts once,
    unless `settings.duplicates` is "keep". Interactions with items that neither the bundle nor a source has are
    dropped. Interactions in the future, which wrong clocks make, are left out and counted.

    Args:
        sources: Folders, or MovieLens releases; see `training.data.sources.load_dataset`.
        bundle: The bundle from which the retraining goes on.
        settings: How files are read, and what ratings and event types mean: the settings of the full training.
        data_dir: The folder of downloaded releases.
        report: Receives a line for everything that was decided.
        until_s: The time now, in seconds since 1970.

    Raises:
        DataError: If a source cannot be used, or has no times.
    """
    given = [(one, _settings_of(one, settings)) for one in sources if not _is_empty_export(one, report)]
    tables = [read_source(one, data_dir=data_dir, settings=how, report=report)[1] for one, how in given]
    ways = [_of_present_types(how, one) for one, (_, how) in zip(tables, given, strict=True)]
    found = [_items_of(one, how, report) for one, how in zip(tables, ways, strict=True)]
    paths = [str(Path(source, one.catalogue)) for (source, _), one in zip(given, tables, strict=True)]
    new_items = fitted_to_bundle(
        [(path, one) for path, one in zip(paths, found, strict=True) if one is not None], bundle
    )
    ids = pl.concat([bundle.items[ITEM_ID], new_items[ITEM_ID]])
    parts = [
        _interactions(
            one, ids.to_frame(), replace(how, unknown_items="drop"), bundle, report, may_be_empty=_is_export(source)
        )
        for one, how, (source, _) in zip(tables, ways, given, strict=True)
    ]
    shown = new_items.select(bundle.items.columns)
    items = pl.concat([bundle.items, pl.DataFrame([payload_column(one) for one in shown.iter_columns()])])
    rows, due_s = _happened(pl.concat([_no_rows(), *map(_with_user_ids, parts)]), until_s, report)
    return Read(_joined(rows, parts, items, bundle, settings, report), new_items, due_s)


def _is_empty_export(source: str, report: DataReport) -> bool:
    """Whether a source is a folder of exported events that has none yet."""
    folder = Path(source, INTERACTIONS)
    if not folder.is_dir() or parts_of(folder):
        return False
    report.note(f"{source}: there are no events yet")
    return True


def _settings_of(source: str, settings: DatasetSettings) -> DatasetSettings:
    """Returns how a source is read. Exported events are not read by the names and formats of the first data.

    Exported events have ids, so equal ones are no fault: a user may see an item twice within one call of POST /events.
    Clients choose the ids of users and items, so one that training cannot use, such as a space, is dropped and counted.
    """
    if not _is_export(source):
        return settings
    plain = DatasetSettings()
    named = {name: getattr(plain, name) for name in FILE_SETTINGS}
    of_export = replace(settings, **named, missing_users="drop", missing_values="drop")
    return of_export if settings.duplicates == "keep" else replace(of_export, duplicates="drop")


def _is_export(source: str) -> bool:
    """Whether a source is a folder of exported events. These may be few, and all of them unusable."""
    return any(Path(source, INTERACTIONS).glob(EXPORTED))


def _of_present_types(settings: DatasetSettings, tables: RawTables) -> DatasetSettings:
    """Returns the settings without the event types that a source does not have: the events of a day may lack some."""
    if not settings.event_types:
        return settings
    present = set[str]()
    if EVENT_TYPE in tables.interactions.collect_schema().names():
        present |= set(tables.interactions.select(pl.col(EVENT_TYPE).cast(pl.String).unique()).collect()[EVENT_TYPE])
    return replace(settings, event_types={name: one for name, one in settings.event_types.items() if name in present})


def _items_of(tables: RawTables, settings: DatasetSettings, report: DataReport) -> pl.DataFrame | None:
    if tables.items is None:
        return None
    checked = checked_items(tables.items, settings, path=tables.catalogue, report=report)
    return usable_attributes(checked, ignored=settings.ignored_columns, path=tables.catalogue, report=report)


def _interactions(
    tables: RawTables,
    ids: pl.DataFrame,
    settings: DatasetSettings,
    bundle: Bundle,
    report: DataReport,
    *,
    may_be_empty: bool,
) -> Dataset:
    """Checks the interactions of one source. Its items have the numbers that they have in `ids`."""
    dataset = build_dataset(
        "",
        tables.interactions,
        ids,
        settings,
        log=tables.log,
        catalogue="the bundle with the sources",
        report=report,
        known_types=tuple(bundle.manifest.event_types),
        may_be_empty=may_be_empty,
    )
    if dataset.interactions.is_empty():
        return replace(dataset, interactions=_no_rows().drop(USER_ID).with_columns(user_index=pl.lit(0)))
    times_I = dataset.interactions[TIMESTAMP].to_numpy()
    seconds_I = times_I // MICROSECONDS if _has_dates(tables, settings) else whole_seconds(times_I)
    if seconds_I is None:
        raise DataError(
            f"{tables.log}: a retraining needs interactions with times since 1970: name the column of times in "
            "DatasetSettings.columns"
        )
    seconds = pl.Series(TIMESTAMP, seconds_I, dtype=pl.Int64)
    return replace(dataset, interactions=dataset.interactions.with_columns(seconds))


def _has_dates(tables: RawTables, settings: DatasetSettings) -> bool:
    """Whether times are dates, as in exported events. Then their unit is known, also if most clocks are wrong."""
    kind = tables.interactions.collect_schema().get(TIMESTAMP)
    return isinstance(kind, pl.Date | pl.Datetime) and settings.times != "ignore"


def _no_rows() -> pl.DataFrame:
    return pl.DataFrame(schema=dict(zip(ROWS, (pl.String, pl.Int32, pl.Int64, pl.Float32, pl.Int8), strict=True)))


def _with_user_ids(part: Dataset) -> pl.DataFrame:
    rows = part.interactions
    return rows.with_columns(part.user_ids[rows["user_index"]].alias(USER_ID)).select(ROWS)


def _happened(rows: pl.DataFrame, until_s: int, report: DataReport) -> tuple[pl.DataFrame, int | None]:
    """Leaves out interactions in the future. Returns the others, and the time of the first one that is left out.

    If they were learnt now, the next retraining would learn them again: they are newer than what has happened.
    """
    later = rows.filter(pl.col(TIMESTAMP) > until_s)
    if later.is_empty():
        return rows, None
    report.note(
        f"{len(later):,} interactions are left out until their time has come, because it is later than now "
        f"({datetime.fromtimestamp(until_s, UTC).isoformat()}): check the clocks that made them"
    )
    return rows.filter(pl.col(TIMESTAMP) <= until_s), int(later[TIMESTAMP].to_numpy().min())


def _joined(
    rows: pl.DataFrame,
    parts: Sequence[Dataset],
    items: pl.DataFrame,
    bundle: Bundle,
    settings: DatasetSettings,
    report: DataReport,
) -> Dataset:
    """Joins the interactions of all sources, sorted by user and time, and numbers the users anew."""
    if settings.duplicates != "keep":
        kept = rows.unique([USER_ID, "item_index", TIMESTAMP, TYPE], keep="first", maintain_order=True)
        if len(kept) < len(rows):
            report.note(f"{len(rows) - len(kept):,} interactions dropped, because an earlier source has them too")
        rows = kept
    users = rows.select(pl.col(USER_ID).unique().sort()).with_row_index("user_index")
    interactions = (
        rows.join(users, on=USER_ID, maintain_order="left")
        .sort("user_index", TIMESTAMP, maintain_order=True)
        .select(pl.col("user_index").cast(pl.Int32), *ROWS[1:])
    )
    manifest = bundle.manifest
    excluding = dict.fromkeys([*manifest.excluding_types, *(name for part in parts for name in part.excluding_types)])
    return Dataset(
        manifest.dataset,
        items,
        interactions,
        fingerprint(items, interactions),
        tuple(manifest.event_types),
        tuple(excluding),
        tuple(manifest.disliking_types),
        users[USER_ID],
    )
