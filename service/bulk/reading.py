"""Reads the users of a slice, and finds the rows that POST /recommend would refuse."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from rqrec.models.errors import first_line
from rqrec.service.bulk.source import EXCLUDE, HISTORY, USER_ID, InvalidSource, Slice, scanned
from rqrec.service.contract.fields import LAST_SECOND
from rqrec.service.events.event import HistoryEntry
from rqrec.service.users.event_rules import EventRules
from rqrec.service.users.users import Profile

REASON = "reason"
LONGEST_ID = 256  # characters, as in service.contract.fields
ENTRY = pl.Struct({"item_id": pl.String, "type": pl.String, "at": pl.Float64})


class CheckedRows(NamedTuple):
    """The users of a slice.

    Attributes:
        usable: The rows for which a list is made: `user_id`, `history` (lists of item ids, or of structs of `item_id`,
            `type` and `at`), and `exclude` if the file has it.
        skipped: The other rows: `user_id`, and the reason.
    """

    usable: pl.DataFrame
    skipped: pl.DataFrame


@dataclass(frozen=True)
class RowReader:
    """Reads users from files of histories.

    Attributes:
        max_items: Largest number of items in a history, and in the list `exclude` of a row. Histories that are made of
            events are cut to it, others are refused.
        rules: The rules of event types, if the histories are made of events; None if they are those of requests.
        exclude: Ids of items that must not be recommended to anybody.
        exclude_types: Items with an event of one of these types in the history must not be recommended. Needs `rules`.
    """

    max_items: int
    rules: EventRules | None
    exclude: Sequence[str]
    exclude_types: Sequence[str]

    def read(self, slice_: Slice) -> CheckedRows:
        """Reads the rows of a slice.

        Args:
            slice_: The slice.

        Raises:
            InvalidSource: If the file was changed meanwhile, or cannot be read.
        """
        scan = scanned(slice_.file.path)
        try:
            names = [name for name in (USER_ID, HISTORY, EXCLUDE) if name in scan.collect_schema()]
            rows = scan.select(names).slice(slice_.first_row, slice_.num_rows).collect()
        except pl.exceptions.PolarsError as error:
            slice_.file.check_unchanged()
            raise InvalidSource(f"{slice_.file.path} cannot be read ({first_line(error)}): write it again") from error
        slice_.file.check_unchanged()
        if EXCLUDE in names:
            rows = rows.with_columns(pl.col(EXCLUDE).fill_null([]))
        rows = rows.with_columns(_as_text(rows, name) for name in names if name != USER_ID)
        reasons: list[pl.Expr] = [pl.when(pl.col(USER_ID).is_null()).then(pl.lit("user_id is null"))]
        for name in names[1:]:
            max_items = None if name == HISTORY and self.rules is not None else self.max_items
            if name == EXCLUDE:  # the ids of the request are in the list too
                max_items = self.max_items - len(self.exclude)
            reasons += _reasons(rows, name, max_items)
        judged = rows.with_columns(pl.coalesce(reasons).alias(REASON))
        return CheckedRows(
            judged.filter(pl.col(REASON).is_null()).drop(REASON),
            judged.filter(pl.col(REASON).is_not_null()).select(USER_ID, REASON),
        )

    def profiles(self, rows: pl.DataFrame) -> list[Profile]:
        """Returns what a recommendation reads of each user.

        Args:
            rows: Usable rows.
        """
        histories, exclude = rows[HISTORY].to_list(), [self.exclude] * len(rows)
        if EXCLUDE in rows.columns:
            exclude = [[*self.exclude, *own] for own in rows[EXCLUDE].to_list()]
        if not _is_of_structs(rows):
            return [*map(Profile, histories, exclude)]
        entries = [[HistoryEntry(one["item_id"], one["type"], one["at"]) for one in history] for history in histories]
        if self.rules is None:
            return [*map(Profile, entries, exclude)]
        read = [self.rules.read(one, self.exclude_types) for one in entries]
        return [
            Profile(one.history[-self.max_items :], [*common, *one.excluded])
            for one, common in zip(read, exclude, strict=True)
        ]


def _is_of_structs(rows: pl.DataFrame) -> bool:
    kind = rows.schema[HISTORY]
    return isinstance(kind, pl.List) and isinstance(kind.inner, pl.Struct)


def _as_text(rows: pl.DataFrame, name: str) -> pl.Expr:
    """The lists of a column with ids as strings. Entries get the fields `item_id`, `type` and `at` (seconds)."""
    kind = rows.schema[name]
    assert isinstance(kind, pl.List)
    if not isinstance(kind.inner, pl.Struct):
        return pl.col(name).cast(pl.List(pl.String))
    fields = {field.name: field.dtype for field in kind.inner.fields}
    at: pl.Expr = pl.lit(None)
    if "at" in fields:
        at = pl.element().struct.field("at")
        if isinstance(fields["at"], pl.Datetime):
            at = at.dt.timestamp("us") / 1e6
    entry = pl.struct(
        pl.element().struct.field("item_id").cast(pl.String),
        (pl.element().struct.field("type") if "type" in fields else pl.lit(None)).cast(pl.String).alias("type"),
        at.cast(pl.Float64).alias("at"),
    )
    whole = pl.when(pl.element().is_not_null()).then(entry)
    return pl.col(name).list.eval(whole).cast(pl.List(ENTRY))


def _reasons(rows: pl.DataFrame, name: str, max_items: int | None) -> list[pl.Expr]:
    """Why rows are skipped because of a column of lists: expressions that are null where there is no such reason."""
    column = pl.col(name)
    has_entries = name == HISTORY and _is_of_structs(rows)
    item_id = pl.element().struct.field("item_id") if has_entries else pl.element()
    faults = {
        f"{name} is null": column.is_null(),
        f"{name} holds a null": _any(column, item_id.is_null()),
        f"{name} holds an id that has not 1 to {LONGEST_ID} characters": _any(column, _is_no_id(item_id)),
    }
    if max_items is not None:
        faults[f"{name} has more than {max_items} items (RQREC_MAX_HISTORY_ITEMS)"] = column.list.len() > max_items
    if has_entries:
        at, kind = pl.element().struct.field("at"), pl.element().struct.field("type")
        is_no_time = ~at.is_between(0, LAST_SECOND) | at.is_nan()
        faults[f"{name} holds a time that is not in seconds from 1970 to the year 9999"] = _any(column, is_no_time)
        faults[f"{name} holds a type that has not 1 to {LONGEST_ID} characters"] = _any(column, _is_no_id(kind))
    return [pl.when(is_fault).then(pl.lit(reason)) for reason, is_fault in faults.items()]


def _is_no_id(text: pl.Expr) -> pl.Expr:
    return ~text.str.len_chars().is_between(1, LONGEST_ID)


def _any(column: pl.Expr, is_fault: pl.Expr) -> pl.Expr:
    """Whether a condition holds for any element of a list."""
    return column.list.eval(is_fault.fill_null(value=False)).list.any()
