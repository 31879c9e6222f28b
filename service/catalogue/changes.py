"""Changes of the catalogue, and their JSON form in the change log.

There are three kinds of `Change`. A `Put` writes an item. A `Delete` deletes an item. A `Forget` removes the record of
an old deletion. An `Entry` is the present content of a written item, with its semantic ID.
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
    """A change, or the stored content of an item, cannot be read or does not fit this model."""


@dataclass(frozen=True)
class Put:
    """The change that adds an item, or replaces the item with the same id.

    Attributes:
        item: The item's id and attributes.
        codes: The item's codes at the L - 1 levels of the RQ-VAE: its semantic ID without the collision code.
        features: The item's feature vector, as the bytes of a float32 array. The codes were computed from it.
        hidden: The vectors that the client sent with the item, such as the embedding of its text, as the text of a JSON
            object. Clients never get them back, so they are not among the item's attributes. They are stored because
            another model needs them to compute its own features of the item.
    """

    item: Item
    codes: Codes
    features: bytes
    hidden: str = "{}"

    @property
    def item_id(self) -> str:
        """The id of the item that this change adds or replaces. `Delete` and `Forget` also have an `item_id`."""
        return self.item.item_id


@dataclass(frozen=True)
class Delete:
    """The change that deletes an item, so that it is never recommended."""

    item_id: str


@dataclass(frozen=True)
class Forget:
    """The change that removes the tombstone of an item: the record in the change log that the item was deleted.

    Otherwise the change log would grow with every deleted item. The item must be one that was not in the published
    model: a deleted item of the published model needs its tombstone, because the model still contains it. The change
    has no effect while the catalogue contains the item.
    """

    item_id: str


Change = Put | Delete | Forget


class Result(StrEnum):
    """What the application of one change did.

    A `Put` has the result ADDED or REPLACED.

    A `Delete` has one of three results. DELETED: the item was deleted. UNKNOWN_ITEM: nothing was deleted, because the
    catalogue does not contain the item. LAST_ITEM: nothing was deleted, because the catalogue contains no other item.

    A `Forget` has the result FORGOTTEN, or NOT_FORGOTTEN if it had no effect, because the catalogue contains the item.
    """

    ADDED = "added"
    REPLACED = "replaced"
    DELETED = "deleted"
    UNKNOWN_ITEM = "unknown item"
    LAST_ITEM = "last item"
    FORGOTTEN = "forgotten"
    NOT_FORGOTTEN = "not forgotten"


class Outcome(NamedTuple):
    """What the application of one change did, and the semantic ID that the item got.

    Attributes:
        result: What was done, or why nothing was done.
        semantic_id: The L codes of an item that was added or replaced; empty for other results.
    """

    result: Result
    semantic_id: Codes = ()


@dataclass(frozen=True)
class Entry:
    """The present content of an item that was written since the model was published.

    Attributes:
        put: The last `Put` of the item, which has its content.
        semantic_id: The item's L codes. The last one is the collision code, which makes semantic IDs unique.
    """

    put: Put
    semantic_id: Codes


def to_json(change: Change) -> str:
    """Encodes a change as JSON, for the change log in Redis. `from_json` decodes it."""
    if isinstance(change, Forget):  # older releases read it as the deletion of an unknown item, which has no effect
        return json.dumps({"delete": change.item_id, "forget": True})
    if isinstance(change, Delete):
        return json.dumps({"delete": change.item_id})
    return json.dumps(_put_fields(change))


def from_json(text: str) -> Change:
    """Decodes a change from the JSON that `to_json` returns.

    Args:
        text: The JSON of a change.

    Raises:
        BadChange: If the text is not the JSON of a change.
    """
    try:
        fields = json.loads(text)
        if "forget" in fields:
            return Forget(str(fields["delete"]))
        return Delete(str(fields["delete"])) if "delete" in fields else _put(fields)
    except (ValueError, TypeError, KeyError, binascii.Error) as error:
        raise BadChange(f"expected a change as `to_json` writes it, got other content: {error}") from error


def entry_to_json(entry: Entry | None) -> str:
    """Encodes the content of a written item as JSON. None, which stands for a deleted item, becomes `null`.

    `entry_from_json` decodes the text.
    """
    return "null" if entry is None else json.dumps({**_put_fields(entry.put), "semantic_id": entry.semantic_id})


def entry_from_json(text: str) -> Entry | None:
    """Decodes the content of a written item from the JSON that `entry_to_json` returns.

    `null`, which stands for a deleted item, becomes None.

    Args:
        text: The JSON of an `Entry`, or `null`.

    Raises:
        BadChange: If the text is neither.
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
