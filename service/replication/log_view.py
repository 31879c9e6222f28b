"""Values read from the change log in Redis: an event, the header, a view of one moment, and the whole contents.

See `service.replication.change_log` for the Redis keys that these values come from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import NamedTuple

from rqrec.service.replication.positions import is_before, is_position
from rqrec.service.replication.stamped_entries import StampedEntry
from rqrec.service.replication.stamps import Stamps


class Event(NamedTuple):
    """One event in the stream of a change log: one change of the catalogue, and where it came from.

    Attributes:
        position: The event's position in the stream, such as `1700000000000-0`.
        change: The change as JSON, see `service.catalogue.changes`. The first event after a repair of the log has no
            change, only the text `nothing`. Empty if the text in Redis is missing or too long to be a change.
        token: Random id of the write request that waits for this event; empty if no request waits.
        origin: For a change that was migrated from another model: the version of that model. Else empty.
        at: For a migrated change: the position at which it was first written, in the other model's stream. Else empty.
        before: The position of the event before this one; empty for the first event of a new stream. None for the
            first event after a repair, and for an event that other software wrote.
    """

    position: str
    change: str
    token: str = ""
    origin: str = ""
    at: str = ""
    before: str | None = None

    @property
    def stamp(self) -> str:
        """The position at which the event's change was first written: `at` for a migrated change, else `position`.

        Of two changes of an item, the one with the later stamp wins.
        """
        return self.at if is_position(self.at) and is_before(self.at, self.position) else self.position


@dataclass(frozen=True)
class LogHeader:
    """The header of a change log, stored in Redis as the hash `log`.

    It describes the other parts of the log: the entries (the content of each written item) and the stream (one event
    for each change). A reader sees from it whether one of these parts is damaged.

    Attributes:
        epoch: The id of the log, which is new after each repair, because a repair replaces all parts of the log.
        position: The position in the stream up to which the entries contain all changes.
        catalogue_version: The number of changes up to that position.
        cut_after: The position of the first event in the stream. Earlier events were deleted; their changes are in the
            entries.
        count: The number of entries.
        digest: A digest of the entries: of each item's id and the position of its last change; see `Stamps.digest`.
    """

    epoch: str
    position: str
    catalogue_version: int
    cut_after: str
    count: int
    digest: str

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> "LogHeader | None":
        """Makes a header from the fields of the Redis hash `log`. Returns None if they do not match their checksum."""
        names = ("epoch", "position", "catalogue_version", "count", "digest", "cut_after")
        values = [fields.get(name, "") for name in names]
        if sha1(" ".join(values).encode(), usedforsecurity=False).hexdigest() != fields.get("check"):
            return None
        epoch, position, version, count, digest, cut_after = values
        return cls(epoch, position, int(version), cut_after, int(count), digest)


@dataclass(frozen=True)
class LogView:
    """The change log at one moment: its header and sizes, and the next events for a reader of the stream.

    The entries of the log, which are the content of each written item, are only counted.

    Attributes:
        header: The header, which describes the entries and the stream; None if it is missing or unreadable.
        tag: A checksum of the content of the key `log`. A new tag shows that a replica has changed the header.
        num_entries: The number of entries; -1 if the value in Redis is no hash.
        num_events: The number of events in the stream; -1 if the value in Redis is no stream.
        first: The position of the stream's first event; empty if there is none.
        last: The position of the stream's last event; empty if there is none.
        is_read: Whether a replica is reading the entries now, so that nobody may change them.
        events: The next events after the position that the reader asked for.
    """

    header: LogHeader | None
    tag: str
    num_entries: int
    num_events: int
    first: str
    last: str
    is_read: bool
    events: Sequence[Event]

    @property
    def is_empty(self) -> bool:
        """Whether the log in Redis has no entries, events or valid header, as before the first start of a replica."""
        return (self.num_entries, self.num_events) == (0, 0) and self.header is None

    @property
    def is_whole(self) -> bool:
        """Whether the log's header is valid and fits the entries (the content of written items) and the stream.

        The header says how many entries there are, which event is the stream's first, and up to which position the
        entries contain all changes. It fits if the first two are true and the stream reaches that position.
        """
        header = self.header
        return (
            header is not None
            and header.count == max(self.num_entries, 0)
            and header.cut_after == self.first
            and not is_before(self.last, header.position)
        )

    def follows(self, position: str) -> bool:
        """Returns whether `LogView.events` continue the stream from a position on, so that no event is missing.

        If there are no such events, returns whether the stream ends at this position.

        Args:
            position: A position in the stream.
        """
        if not self.events and self.last != position:
            return False
        for event in self.events:
            if event.before not in {None, position}:
                return False
            position = event.position
        return True


@dataclass(frozen=True)
class LogContents:
    """The whole content of a change log: its entries, and the events of its stream.

    Attributes:
        entries: The content and the stamp (position of the last change) of each written item, by item id. Entries that
            cannot be decoded are left out.
        events: The events whose changes came after the entries. All events of the stream if the log has no valid
            header, or one that does not fit the entries or the stream (see `LogView.is_whole`).
        last: The position of the last event that was read. If none was read, the position where reading began.
        is_linked: Whether the events have no gap: the first one comes directly after the position where reading began,
            and each other one directly after the one before it.
    """

    entries: Mapping[str, StampedEntry]
    events: Sequence[Event]
    last: str
    is_linked: bool

    def stamps(self) -> Stamps:
        """Returns the stamps of the entries, without the events after them."""
        return Stamps({item_id: stamped.stamp for item_id, stamped in self.entries.items()})

    def is_undamaged(self, view: LogView, stamps: Stamps) -> bool:
        """Returns whether these are all entries and events that the log's header promises.

        Args:
            view: The view of the log from which this content was read.
            stamps: The result of `LogContents.stamps`, which takes long if there are many entries.
        """
        header = view.header
        return header is not None and view.is_whole and self.is_linked and stamps.digest == header.digest
