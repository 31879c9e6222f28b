"""Changes of the catalogue, as replicas tell them to each other."""

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
    """A change that this replica cannot read."""


@dataclass(frozen=True)
class Put:
    """An item is added or replaced.

    Attributes:
        item: Its id and attributes.
        codes: Its quantised codes, the collision code not among them.
        features: Its features, float32.
        hidden: What was written beside the attributes that the catalogue shows, as JSON: vectors, by name. Another
            model makes its own features of all that.
    """

    item: Item
    codes: Codes
    features: bytes
    hidden: str = "{}"

    @property
    def item_id(self) -> str:
        """The item's id, as a `Delete` has it."""
        return self.item.item_id


@dataclass(frozen=True)
class Delete:
    """An item is taken out of every answer."""

    item_id: str


Change = Put | Delete


class Result(StrEnum):
    """What came of a change."""

    ADDED = "added"
    REPLACED = "replaced"
    DELETED = "deleted"
    UNKNOWN_ITEM = "unknown item"
    LAST_ITEM = "last item"


class Outcome(NamedTuple):
    """The result, and the semantic ID that an item added or replaced now has."""

    result: Result
    semantic_id: Codes = ()


@dataclass(frozen=True)
class Entry:
    """An item as written: the change, and the semantic ID that it got."""

    put: Put
    semantic_id: Codes


def to_json(change: Change) -> str:
    """A change for the log; `from_json` reads it."""
    if isinstance(change, Delete):
        return json.dumps({"delete": change.item_id})
    return json.dumps(_put_fields(change))


def from_json(text: str) -> Change:
    """Reads what `to_json` wrote.

    Raises:
        BadChange: If it is something else.
    """
    try:
        fields = json.loads(text)
        return Delete(str(fields["delete"])) if "delete" in fields else _put(fields)
    except (ValueError, TypeError, KeyError, binascii.Error) as error:
        raise BadChange(f"not a change of this software: {error}") from error


def entry_to_json(entry: Entry | None) -> str:
    """What the changes of one item came to, None where it was deleted; `entry_from_json` reads it."""
    return "null" if entry is None else json.dumps({**_put_fields(entry.put), "semantic_id": entry.semantic_id})


def entry_from_json(text: str) -> Entry | None:
    """Reads what `entry_to_json` wrote.

    Raises:
        BadChange: If it is something else.
    """
    try:
        fields = json.loads(text)
        return None if fields is None else Entry(_put(fields), tuple(map(int, fields["semantic_id"])))
    except (ValueError, TypeError, KeyError, binascii.Error) as error:
        raise BadChange(f"not an item of this software: {error}") from error


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
