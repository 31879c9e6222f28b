"""Changes of the catalogue, and their JSON form in the change log.

A `Change` puts or deletes one item; a client asks for it. An `Entry` is the result of all changes of one item.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from rqrec.service.catalogue.item import Item
from rqrec.service.catalogue.item_table import Codes


class BadChange(ValueError):
    """A change or an entry cannot be read or does not fit this model."""


@dataclass(frozen=True)
class Put:
    """Adds an item, or replaces it.

    Attributes:
        item: The item's id and attributes.
        codes: The item's L - 1 quantised codes, without the collision code.
        features: The item's feature vector, as bytes of float32.
        hidden: The written vectors, which the payload does not show, as a JSON object. Another model needs them to
            make its own features.
    """

    item: Item
    codes: Codes
    features: bytes
    hidden: str = "{}"

    @property
    def item_id(self) -> str:
        """The item's id; `Delete` has the same attribute."""
        return self.item.item_id


@dataclass(frozen=True)
class Delete:
    """Deletes an item from every answer."""

    item_id: str


@dataclass(frozen=True)
class Forget:
    """Ends the memory of a deleted item that was never in the bundle; without effect while the item is there."""

    item_id: str


Change = Put | Delete | Forget


class Result(StrEnum):
    """The result of applying a change."""

    ADDED = "added"
    REPLACED = "replaced"
    DELETED = "deleted"
    UNKNOWN_ITEM = "unknown item"
    LAST_ITEM = "last item"
    FORGOTTEN = "forgotten"
    NOT_FORGOTTEN = "not forgotten"


class Outcome(NamedTuple):
    """The outcome of a change.

    Attributes:
        result: The result.
        semantic_id: The L codes of an added or replaced item; empty for other results.
    """

    result: Result
    semantic_id: Codes = ()


@dataclass(frozen=True)
class Entry:
    """A written item.

    Attributes:
        put: The last change of the item.
        semantic_id: The item's L codes, with the collision code.
    """

    put: Put
    semantic_id: Codes


def to_json(change: Change) -> str:
    """Encodes a change for the stream; `from_json` decodes it."""
    if isinstance(change, Forget):  # older releases read it as the deletion of an unknown item, which has no effect
        return json.dumps({"delete": change.item_id, "forget": True})
    if isinstance(change, Delete):
        return json.dumps({"delete": change.item_id})
    return json.dumps(_put_fields(change))


def from_json(text: str) -> Change:
    """Decodes a change that `to_json` encoded.

    Args:
        text: JSON that `to_json` wrote.

    Raises:
        BadChange: If the text is no such change.
    """
    try:
        fields = json.loads(text)
        if "forget" in fields:
            return Forget(str(fields["delete"]))
        return Delete(str(fields["delete"])) if "delete" in fields else _put(fields)
    except (ValueError, TypeError, KeyError, binascii.Error) as error:
        raise BadChange(f"expected a change as `to_json` writes it, got other content: {error}") from error


def entry_to_json(entry: Entry | None) -> str:
    """Encodes an entry, None for a deleted item; `entry_from_json` decodes it."""
    return "null" if entry is None else json.dumps({**_put_fields(entry.put), "semantic_id": entry.semantic_id})


def entry_from_json(text: str) -> Entry | None:
    """Decodes an entry that `entry_to_json` encoded.

    Args:
        text: JSON that `entry_to_json` wrote.

    Raises:
        BadChange: If the text is no such entry.
    """
    try:
        fields = json.loads(text)
        return None if fields is None else Entry(_put(fields), tuple(map(int, fields["semantic_id"])))
    except (ValueError, TypeError, KeyError, binascii.Error) as error:
        raise BadChange(f"expected an entry as `entry_to_json` writes it, got other content: {error}") from error


def _put_fields(put: Put) -> dict[str, Any]:
    features = base64.b64encode(put.features).decode()
    item = put.item
    return {
        "put": item.item_id,
        "payload": item.payload,
        "codes": put.codes,
        "features": features,
        "hidden": put.hidden,
    }


def _put(fields: Mapping[str, Any]) -> Put:
    item = Item(str(fields["put"]), str(fields["payload"]))
    features = base64.b64decode(fields["features"], validate=True)
    return Put(item, tuple(map(int, fields["codes"])), features, str(fields.get("hidden", "{}")))
