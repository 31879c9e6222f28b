"""Entries with their stamps, and their text form in the hash `entries`: checksum, stamp and JSON."""

import contextlib
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rqrec.service.catalogue.changes import BadChange, Entry, entry_from_json, entry_to_json
from rqrec.service.replication.positions import BEFORE_ALL, is_position


class StampedEntry(NamedTuple):
    """An item's entry and its stamp.

    Attributes:
        stamp: The position of the item's last change.
        entry: The item as that change left it; None for a deleted item.
    """

    stamp: str
    entry: Entry | None


def entry_texts(entries: Iterable[tuple[str, StampedEntry]]) -> dict[str, str]:
    """Encodes entries for the hash, by item id; `read_entries` decodes them. An item without a stamp gets no text."""
    bodies = {item_id: f"{stamp} {entry_to_json(entry)}" if stamp else "" for item_id, (stamp, entry) in entries}
    return {item_id: f"{_checksum(item_id, body)} {body}" if body else "" for item_id, body in bodies.items()}


def read_entries(page: Sequence[str]) -> dict[str, StampedEntry]:
    """Decodes a page of the hash and leaves out unreadable entries; the header's digest reveals that they are missing.

    Args:
        page: Item ids and texts in turn, as HSCAN returns them.
    """
    entries: dict[str, StampedEntry] = {}
    for item_id, text in zip(page[::2], page[1::2], strict=True):
        with contextlib.suppress(BadChange, ArithmeticError, RecursionError):
            entries[item_id] = _read_entry(item_id, text)
    return entries


def _read_entry(item_id: str, text: str) -> StampedEntry:
    if text == "null" or text.startswith("{"):  # the form of older releases, without checksum and stamp
        return StampedEntry(BEFORE_ALL, entry_from_json(text))
    checksum, _, body = text.partition(" ")
    stamp, _, entry = body.partition(" ")
    if checksum != _checksum(item_id, body) or not is_position(stamp):
        raise BadChange("expected a checksum, a stamp and an entry, got other content")
    return StampedEntry(stamp, entry_from_json(entry))


def _checksum(item_id: str, body: str) -> str:
    return f"{zlib.crc32(f'{item_id} {body}'.encode('utf-8', 'replace')):08x}"
