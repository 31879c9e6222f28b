"""Builds the data set from raw tables: checks the rows, sorts interactions by time, and numbers users and items."""

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import polars as pl

from rqrec.training.data.checks import EXAMPLES_SHOWN, checked_interactions, checked_items, log_columns
from rqrec.training.data.columns import INTERACTIONS, interaction_columns
from rqrec.training.data.compact.distinct_texts import DistinctTexts
from rqrec.training.data.compact.order import in_order, parts_of_rows
from rqrec.training.data.dataset import (
    EVENT_TYPE,
    ITEM_ID,
    RATING,
    TIMESTAMP,
    TYPE,
    USER_ID,
    WEIGHT,
    Dataset,
    fingerprint,
)
from rqrec.training.data.feedback.decide import Feedback, decide_feedback
from rqrec.training.data.reading.attributes import usable_attributes
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.splitting.time_unit import ticks_per_second

LOG, CATALOGUE = "the interactions table", "the items table"
SMALL_DIFFERENCES: dict[str, Callable[[pl.Series], pl.Series]] = {  # how each is taken out of ids
    "the Unicode form of letters (NFC or NFD)": lambda ids: ids.str.normalize("NFC"),
    "compatible letters, such as wide ones (NFKC)": lambda ids: ids.str.normalize("NFKC"),
    "upper and lower case": lambda ids: ids.str.to_lowercase(),
    "spaces": lambda ids: ids.str.replace_all(r"\s+", " "),
    "a point with zeros at the end": lambda ids: ids.str.replace(r"\.0+$", ""),
    "leading zeros": lambda ids: ids.str.strip_chars_start("0"),
}


def build_dataset(
    name: str,
    interactions: pl.LazyFrame,
    items: pl.DataFrame | None,
    settings: DatasetSettings | None = None,
    *,
    log: str = LOG,
    catalogue: str = CATALOGUE,
    report: DataReport | None = None,
    known_types: tuple[str, ...] | None = None,
    may_be_empty: bool = False,
) -> Dataset:
    """Checks raw tables, sorts every user's interactions by time, and numbers users and items.

    Interactions of one user with the same time are sorted by a fixed hash of user and item. So the order of the rows in
    the raw files has no influence on the result.

    Args:
        name: Short name of the data set, such as "ml-100k".
        interactions: Table with the columns user_id and item_id; optional columns are timestamp, rating and event_type.
            Without timestamps, the rows must be in the order of time, oldest first.
        items: Table with the column item_id and any attributes; None to take the items from the interactions.
        settings: How bad rows are treated, such as duplicates; None for the defaults, which raise errors.
        log: Name of the interactions file, for messages.
        catalogue: Name of the items file, for messages.
        report: Collects a line for everything that was changed or dropped; None if no report is needed.
        known_types: The event types that a trained model reads; see `training.data.feedback.decide.decide_feedback`.
        may_be_empty: Whether a table without any usable interaction is no fault.

    Raises:
        DataError: If a column is missing or cannot be used, an id or time is missing, an item or an interaction is
            listed twice, or an interaction names an item that the items table lacks. One error names all faults that
            were found.
    """
    settings, report = settings or DatasetSettings(), report or DataReport()
    with report.all_faults():
        items, feedback = _decided(
            interactions, items, settings, log, catalogue, report, known_types, may_be_empty=may_be_empty
        )
    # Only one table of interactions stands in memory at a time, and ids are dropped as soon as they have numbers.
    frame, feedback = feedback.interactions, feedback._replace(interactions=pl.DataFrame())
    user_ids = frame[USER_ID].unique().cast(pl.String).sort()
    frame.insert_column(0, _numbers(frame.drop_in_place(USER_ID), user_ids).alias("user_index"))
    frame.insert_column(1, _numbers(frame.drop_in_place(ITEM_ID), items[ITEM_ID]).alias("item_index"))
    ordered = in_order(frame)
    report.note(
        f"{log}: {report.rows_read:,} interactions read, {len(ordered):,} kept, of {len(user_ids):,} users; "
        f"{len(items):,} items{_period(ordered[TIMESTAMP])}"
    )
    return Dataset(
        name,
        items,
        ordered,
        fingerprint(items, ordered),
        feedback.event_types,
        feedback.excluding_types,
        feedback.disliking_types,
        user_ids,
    )


def _numbers(ids: pl.Series, order: pl.Series) -> pl.Series:
    """Returns for each row the place of its id in a list of distinct ids, int32."""
    texts, known = DistinctTexts.from_column(ids), pl.DataFrame({ids.name: order}).with_row_index("place")
    places = texts.values_V.to_frame().join(known, on=ids.name, how="left", maintain_order="left")["place"]
    return texts.spread(places.cast(pl.Int32))


def _decided(
    interactions: pl.LazyFrame,
    items: pl.DataFrame | None,
    settings: DatasetSettings,
    log: str,
    catalogue: str,
    report: DataReport,
    known_types: tuple[str, ...] | None,
    *,
    may_be_empty: bool,
) -> tuple[pl.DataFrame, Feedback]:
    """Checks the tables, and decides about rows that do not fit. Every fault is added to the report.

    A check that needs a column with a fault is left out, because it could report faults that are none.
    """
    frame = checked = pl.DataFrame()
    expected = log_columns(interactions.collect_schema().names(), settings)
    with report.attempt():
        frame = checked_interactions(interactions, settings, path=log, report=report, may_be_empty=may_be_empty)
        if all(column.table != INTERACTIONS for column in report.columns):  # a layout whose columns have fixed names
            report.columns += interaction_columns(frame, {name: name for name in frame.columns}, frame.columns)
    if items is not None:
        with report.attempt():
            checked = checked_items(items, settings, path=catalogue, report=report)
            checked = usable_attributes(checked, ignored=settings.ignored_columns, path=catalogue, report=report)
    unreadable = set(expected) - set(frame.columns)
    feedback = Feedback(frame, (), (), ())
    if len(frame) and not unreadable & {RATING, EVENT_TYPE}:
        feedback = decide_feedback(frame, settings, path=log, report=report, known_types=known_types)
    frame = feedback.interactions
    if not unreadable:
        frame = _distinct(frame, settings, log, report)
    if ITEM_ID in frame.columns and (items is None or len(checked)):
        known = None if items is None else checked
        checked, frame = _matched(known, frame, settings, log, catalogue, report, may_be_empty=may_be_empty)
    return checked, feedback._replace(interactions=frame)


def _distinct(frame: pl.DataFrame, settings: DatasetSettings, log: str, report: DataReport) -> pl.DataFrame:
    """Decides about interactions that are equal in user, item, time and type."""
    if settings.duplicates == "keep":
        return frame
    key = [name for name in frame.columns if name != WEIGHT]
    is_repeat = _is_repeat(frame.select(key))
    repeats = int(is_repeat.sum())
    if not repeats:
        return frame
    if settings.duplicates == "error":
        shown = frame.filter(is_repeat).select(USER_ID, ITEM_ID).unique(maintain_order=True).head(EXAMPLES_SHOWN).rows()
        kind = " (of the event or of the rating: liked, neutral, disliked)" if TYPE in key else ""
        report.refuse(
            f"{log}: interactions must be distinct in {', '.join(key[:-1])} and {key[-1]}{kind}, but {repeats} are "
            f"equal to an earlier one, such as those of the users and items {shown}, the first in data row "
            f"{report.data_row(is_repeat.arg_true()[0])}: remove them, or set DatasetSettings.duplicates = 'drop' "
            f"(drops these {repeats}) or 'keep'"
        )
        return frame
    report.note(f"{log}: {repeats} interactions dropped, because they are equal to an earlier one in {', '.join(key)}")
    return report.keep(frame, ~is_repeat)


def _is_repeat(frame: pl.DataFrame) -> pl.Series:
    """Returns whether each row is equal to an earlier one, for some users at a time, which takes less memory."""
    is_repeat = np.ones(len(frame), dtype=np.bool_)
    for rows in parts_of_rows(frame[USER_ID].to_physical()):
        first = frame[rows].with_columns(rows.alias("row")).unique(frame.columns, keep="first", maintain_order=True)
        is_repeat[first["row"].to_numpy()] = False
    return pl.Series(is_repeat)


def _matched(
    items: pl.DataFrame | None,
    frame: pl.DataFrame,
    settings: DatasetSettings,
    log: str,
    catalogue: str,
    report: DataReport,
    *,
    may_be_empty: bool,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Decides about interactions with items that the items table lacks."""
    if items is None:
        report.note(f"there is no items table: the items are those of {log}, without attributes")
        return frame[ITEM_ID].unique().cast(pl.String).sort().to_frame(), frame
    ids = frame[ITEM_ID].unique().cast(pl.String).sort().to_frame()
    unknown = ids.join(items.select(ITEM_ID), on=ITEM_ID, how="anti", maintain_order="left")[ITEM_ID]
    if not len(unknown):
        return items, frame
    texts = DistinctTexts.from_column(frame[ITEM_ID])
    is_strange_V = texts.values_V.is_in(unknown.implode())
    if settings.unknown_items == "error":
        row, first = texts.first(is_strange_V, texts.values_V)
        report.refuse(
            f"{log}: interactions name {len(unknown)} items that {catalogue} does not have, such as "
            f"{unknown.head(EXAMPLES_SHOWN).to_list()}{_near_misses(unknown, items)}, the first, {first!r}, in data "
            f"row {report.data_row(row)}: add them, or set DatasetSettings.unknown_items = 'drop' (their interactions) "
            "or 'add' (the items, without attributes)"
        )
        return items, frame
    if settings.unknown_items == "add":
        report.note(
            f"{catalogue}: {len(unknown)} items of {log} added without attributes{_near_misses(unknown, items)}"
        )
        return pl.concat([items, unknown.to_frame()], how="diagonal"), frame
    is_strange = texts.spread(is_strange_V)
    report.note(
        f"{log}: {is_strange.sum()} of {len(frame)} interactions dropped, because {catalogue} lacks their items "
        f"({len(unknown)}){_near_misses(unknown, items)}"
    )
    frame = frame.filter(~is_strange)
    if frame.is_empty() and not may_be_empty:
        report.refuse(
            f"{log}: no interaction names an item of {catalogue}: check that both use the same item_id; {log} has ids "
            f"such as {unknown.head(EXAMPLES_SHOWN).to_list()}, {catalogue} such as "
            f"{items[ITEM_ID].head(EXAMPLES_SHOWN).to_list()}{_near_misses(unknown, items)}"
        )
    return items, frame


def _near_misses(unknown: pl.Series, items: pl.DataFrame) -> str:
    """Says how many unknown item ids are in the items table but for `SMALL_DIFFERENCES`; nothing if none is."""
    counts, unexplained = dict[str, int](), unknown
    for what, without in {**SMALL_DIFFERENCES, "several such things": _without_all}.items():
        is_close = without(unexplained).is_in(without(items[ITEM_ID]).unique().implode())
        counts[what], unexplained = int(is_close.sum()), unexplained.filter(~is_close)
    told = [
        f"{count} of the {len(unknown)} differ from an item only in {what}" for what, count in counts.items() if count
    ]
    return f" ({'; '.join(told)})" if told else ""


def _without_all(ids: pl.Series) -> pl.Series:
    """Takes all `SMALL_DIFFERENCES` out of ids."""
    for without in SMALL_DIFFERENCES.values():
        ids = without(ids)
    return ids


def _period(times: pl.Series) -> str:
    """Returns the first and the last day of the interactions, for the report; nothing if the times have no days."""
    times_I = times.to_numpy()
    ticks = ticks_per_second(times_I)
    if ticks is None:
        return ""
    try:
        first, last = (
            datetime.fromtimestamp(int(time) // ticks, UTC).date() for time in (times_I.min(), times_I.max())
        )
    except (ValueError, OverflowError, OSError):  # outside of the years that datetime knows
        return ""
    return f"; from {first} to {last}"
