"""Moves events from the event store to files, each event exactly once, also across crashes.

The position up to which the stream is exported is stored with the events (see `event_files`). The stream is trimmed
only up to a position that is on the disk. So after a crash, the export goes on where the files end.
"""

from collections.abc import Sequence
from typing import NamedTuple

from rqrec.models.errors import UserError
from rqrec.service.events.event import Event, ForgottenUser, Record
from rqrec.service.events.store import START, EventStore
from rqrec.service.export_events.event_files import EventFiles, Progress
from rqrec.service.export_events.progress_log import ProgressLog

PAGE = 10_000  # records that are moved at once


class OtherStore(UserError):
    """Raised when the files were exported from another store."""


class Exported(NamedTuple):
    """What an export has done.

    Attributes:
        events: Number of events that were added to the files.
        forgotten: Number of events of forgotten users that were removed from the files.
    """

    events: int
    forgotten: int


async def export_events(store: EventStore, files: EventFiles, *, replaces: bool = False) -> Exported:
    """Moves all events that the store's stream holds now to files, and removes the events of forgotten users there.

    Args:
        store: The event store.
        files: The files of exported events; the caller holds their lock.
        replaces: Whether the store has taken the place of the one from which the files came, and that one is lost.

    Raises:
        StoreUnavailable: If the store does not answer. The next export goes on from there.
        OtherStore: If the files were exported from another store. Nothing is changed.
    """
    store_id = await store.store_id()
    position, num_left = await _begin(store, store_id, files, replaces=replaces), await store.size()
    num_events = num_forgotten = 0
    log = ProgressLog()
    while num_left > 0:
        page = await store.read(position, PAGE)
        if not page.records:
            break
        events, forgotten = _read_page(page.records)
        if forgotten:  # before the position moves on, so that a crash cannot skip it
            num_forgotten += files.forget(forgotten)
        if events:
            files.add(events, Progress(page.position, store_id))
        await store.trim(page.position)
        position, num_left, num_events = page.position, num_left - len(page.records), num_events + len(events)
        log.tell("%d events exported so far, %d records left", num_events, max(num_left, 0))
    return Exported(num_events, num_forgotten)


async def _begin(store: EventStore, store_id: str, files: EventFiles, *, replaces: bool) -> str:
    """Returns the position of the files, and trims the stream up to it, because a crash may have prevented that."""
    position, exported_from = files.progress()
    if exported_from not in {None, store_id}:
        if replaces:
            return START
        raise OtherStore(
            f"these files were exported from another event store, {exported_from}, but this is {store_id}: use another "
            "folder; only if that store is lost and this one has taken its place, add --replaces-lost-store"
        )
    if position != START:
        try:
            await store.trim(position)
        except ValueError as error:
            raise OtherStore(
                f"these files were exported from another event store: use another folder ({error})"
            ) from error
    return position


def _read_page(records: Sequence[Record]) -> tuple[list[Event], set[str]]:
    """Returns the events to keep, and the users whose earlier events must be deleted."""
    kept: list[Event] = []
    forgotten: set[str] = set()
    for record in reversed(records):
        if isinstance(record, ForgottenUser):
            forgotten.add(record.user_id)
        elif record.user_id not in forgotten:
            kept.append(record)
    return kept[::-1], forgotten
