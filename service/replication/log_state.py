"""What the catalogue's keys in Redis hold, as values; see `service.replication.change_log`.

A position is that of an event in the stream, `<milliseconds>-<number>`.
"""

import contextlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha1
from typing import NamedTuple

from rqrec.service.catalogue.changes import BadChange, Entry, entry_from_json, entry_to_json

START, BEFORE_ALL = "0-0", "0-1"
POSITION_DIGITS = 15  # of milliseconds: no clock is ahead of the year 30000


class Event(NamedTuple):
    """A change as it stands in the stream.

    Attributes:
        position: Where.
        change: See `service.catalogue.changes`; empty where it is too long to be one.
        token: Its writer's.
        origin: The model version that it was written for, if it was carried over from there.
        at: When it was written there, as a position; empty for one that was written here.
        before: The position of the event before it; None for an event of other software.
    """

    position: str
    change: str
    token: str = ""
    origin: str = ""
    at: str = ""
    before: str | None = None

    @property
    def stamp(self) -> str:
        """What decides which of two changes of an item is the later one."""
        return self.at if is_position(self.at) and is_before(self.at, self.position) else self.position


class Stamped(NamedTuple):
    """An entry, None for an item that was deleted, and the stamp of the change that it came of."""

    stamp: str
    entry: Entry | None


@dataclass(frozen=True)
class LogState:
    """What `log` says.

    Attributes:
        epoch: Names the stream; another one is a stream that began anew.
        position: The last change that is among the entries.
        catalogue_version: How many changes that makes.
        cut_after: The stream's first event; changes before it are gone.
        count: How many entries there are.
        digest: Of all of them, see `digest_of`.
    """

    epoch: str
    position: str
    catalogue_version: int
    cut_after: str
    count: int
    digest: str

    @classmethod
    def from_fields(cls, fields: Mapping[str, str]) -> "LogState | None":
        """Reads the fields; None where they are not such a log, or were altered."""
        names = ("epoch", "position", "catalogue_version", "count", "digest", "cut_after")
        said = [fields.get(name, "") for name in names]
        if sha1(" ".join(said).encode(), usedforsecurity=False).hexdigest() != fields.get("check"):
            return None
        epoch, position, version, count, digest, cut_after = said
        return cls(epoch, position, int(version), cut_after, int(count), digest)


@dataclass(frozen=True)
class Look:
    """What Redis holds at one moment.

    Attributes:
        log: What the log says; None where there is none, or none that can be read.
        tag: Differs whenever the log does.
        num_entries: How many entries there are; -1 where something else stands in their place.
        num_events: The same of the stream.
        first: The stream's first event; empty if there is none.
        last: Its last.
        is_read: Whether a replica reads the entries, which shall not change meanwhile.
        events: The stream's next ones after the position that was asked for.
    """

    log: LogState | None
    tag: str
    num_entries: int
    num_events: int
    first: str
    last: str
    is_read: bool
    events: Sequence[Event]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing, as before the first replica ever."""
        return (self.num_entries, self.num_events) == (0, 0) and self.log is None

    @property
    def is_whole(self) -> bool:
        """Whether log, entries and the ends of the stream agree."""
        log = self.log
        return (
            log is not None
            and log.count == max(self.num_entries, 0)
            and log.cut_after == self.first
            and not is_before(self.last, log.position)
        )

    def follows(self, position: str) -> bool:
        """Whether the events are those that come next after a position, with none missing between them."""
        if not self.events and self.last != position:
            return False
        for event in self.events:
            if event.before not in {None, position}:
                return False
            position = event.position
        return True


@dataclass(frozen=True)
class Found:
    """All that Redis holds of the catalogue.

    Attributes:
        entries: Those that can be read.
        events: Of the stream: those after the log's position, or all where there is no such log.
        last: The last one's position, also of one that the log's entries know.
        is_linked: Whether the events follow on the log's position with none missing.
    """

    entries: Mapping[str, Stamped]
    events: Sequence[Event]
    last: str
    is_linked: bool


def is_before(position: str, other: str) -> bool:
    """Whether a position in the stream comes before another; what is none comes before all."""
    return order_of(position) < order_of(other)


def is_position(text: str) -> bool:
    """Whether a text is a position in a stream."""
    time, separator, number = text.partition("-")
    return bool(separator) and all(
        part.isascii() and part.isdigit() and len(part) <= POSITION_DIGITS for part in (time, number)
    )


def next_position(positions: Iterable[str], now_s: float) -> str:
    """A position after all of some, and not before a moment in seconds since 1970."""
    now = (round(1000 * now_s), 0)
    time, number = max(map(order_of, positions), default=(0, 0))
    return f"{now[0]}-{now[1]}" if now > (time, number) else f"{time}-{number + 1}"


def digest_of(item_id: str, stamp: str) -> int:
    """A part of the digest of all entries: these are joined by exclusive or, so that one can be exchanged."""
    return int.from_bytes(blake2b(f"{item_id}\0{stamp}".encode("utf-8", "surrogatepass"), digest_size=16).digest())


def order_of(position: str) -> tuple[int, int]:
    """What positions are ordered by; what is none comes before all."""
    if not is_position(position):
        return (-1, -1)
    time, _, number = position.partition("-")
    return int(time), int(number)


def entry_texts(entries: Iterable[tuple[str, Stamped]]) -> dict[str, str]:
    """Entries as the hash holds them; `read_entries` reads them."""
    bodies = ((item_id, f"{stamped.stamp} {entry_to_json(stamped.entry)}") for item_id, stamped in entries)
    return {item_id: f"{_checksum(item_id, body)} {body}" for item_id, body in bodies}


def read_entries(found: Sequence[str]) -> dict[str, Stamped]:
    """The entries that can be read of a page of the hash: item ids and texts in turn."""
    page: dict[str, Stamped] = {}
    for item_id, text in zip(found[::2], found[1::2], strict=True):
        with contextlib.suppress(BadChange, ArithmeticError, RecursionError):  # the digest tells that it is missing
            page[item_id] = _stamped(item_id, text)
    return page


def _stamped(item_id: str, text: str) -> Stamped:
    if text == "null" or text.startswith("{"):  # as releases before this one wrote it
        return Stamped(BEFORE_ALL, entry_from_json(text))
    checksum, _, body = text.partition(" ")
    stamp, _, entry = body.partition(" ")
    if checksum != _checksum(item_id, body) or not is_position(stamp):
        raise BadChange("not an entry of this software")
    return Stamped(stamp, entry_from_json(entry))


def _checksum(item_id: str, body: str) -> str:
    return f"{zlib.crc32(f'{item_id} {body}'.encode('utf-8', 'replace')):08x}"
