"""The content of written items (their entries) with the position of the last change of each (its stamp).

Also encodes and decodes the text of each entry in the Redis hash `entries`.
"""

import contextlib
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rqrec.service.catalogue.changes import BadChange, Entry, entry_from_json, entry_to_json
from rqrec.service.replication.positions import BEFORE_ALL, is_position


class StampedEntry(NamedTuple):
    """The content of a written item after its last change, and the position of this change.

    Attributes:
        stamp: The position at which the item's last change was first written to a Redis stream.
        entry: The item's content after this change; None for a deleted item.
    """

    stamp: str
    entry: Entry | None


def entry_texts(entries: Iterable[tuple[str, StampedEntry]]) -> dict[str, str]:
    """Encodes the content and the stamp of written items for the Redis hash `entries`; `read_entries` decodes them.

    Args:
        entries: Pairs of an item id and its entry.

    Returns:
        The text of each entry, by item id: checksum, stamp and JSON. If the stamp is empty, the text is empty too,
        which means that the entry is to be deleted from the hash.
    """
    bodies = {item_id: f"{stamp} {entry_to_json(entry)}" if stamp else "" for item_id, (stamp, entry) in entries}
    return {item_id: f"{_checksum(item_id, body)} {body}" if body else "" for item_id, body in bodies.items()}


def read_entries(page: Sequence[str]) -> dict[str, StampedEntry]:
    """Decodes the content and the stamp of written items, from fields of the Redis hash `entries`.

    Leaves out fields that cannot be read. A reader of the whole hash still notices this: the digest of what was read
    then differs from the digest in the header of the change log.

    Args:
        page: An item id, its text, the next item id, its text, and so on, as HSCAN returns them.

    Returns:
        The readable entries, by item id.
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
