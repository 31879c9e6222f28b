"""Checks a list of recommendations against the catalogue of its model version and against the items written since."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from rqrec.models.bundle.bundle import Bundle
from rqrec.service.catalogue.item import items_of

# A deletion holds at once. While models change and Redis restarts it may hold later, but not later than this.
SETTLED_S = 10.0


@dataclass
class Written:
    """The state of an item that the clients have written.

    Attributes:
        payload: The attributes confirmed last; None if the item was deleted or never confirmed.
        since: Time of the last confirmation, by the monotonic clock in seconds.
        sent: All attributes that were ever sent, as JSON.
        is_uncertain: Whether a change is under way, or was neither confirmed nor refused.
    """

    payload: dict[str, Any] | None = None
    since: float = 0.0
    sent: set[str] = field(default_factory=set)
    is_uncertain: bool = False


class AnswerCheck:
    """The items that may be recommended: those of every model version, and those that clients have written.

    Args:
        bundles: The models by version.

    Attributes:
        written: The written items by item_id; clients update it.
    """

    def __init__(self, bundles: Mapping[str, Bundle]) -> None:
        self.written: dict[str, Written] = {}
        self._known = {version: _known(bundle) for version, bundle in bundles.items()}

    def attributes_like(self, bundle: Bundle) -> dict[str, Any]:
        """Returns the attributes of the first item of a bundle."""
        return next(iter(self._known[bundle.manifest.version].values()))[1]

    def fault_of(self, response: httpx.Response, history: list[str], k: int, begin: float) -> str:
        """Returns a description of what is wrong with an answer; empty if nothing is.

        Args:
            response: The answer to POST /recommend.
            history: The item_ids of the request's history.
            k: The number of items that the request asked for.
            begin: Time when the request was sent, by the monotonic clock in seconds.
        """
        if response.status_code != httpx.codes.OK:
            return f"status {response.status_code}"
        reply = response.json()
        items = reply["items"]
        ids = [item["item_id"] for item in items]
        if len(ids) != min(k, reply["eligible_items"]) or len(set(ids)) != len(ids) or set(ids) & set(history):
            return f"{len(ids)} items, {len(set(ids))} of them different, {len(set(ids) & set(history))} of the history"
        known = self._known[reply["model_version"]]
        for item in items:
            item_id = item["item_id"]
            if item_id not in known:
                fault = self._fault_of_written(item_id, item["payload"], begin)
            else:
                is_right = (item["semantic_id"], item["payload"]) == known[item_id]
                fault = "" if is_right else f"{item_id} is of another version: expected {known[item_id]}"
            if fault:
                return fault
        return ""

    def _fault_of_written(self, item_id: str, payload: dict[str, Any], begin: float) -> str:
        written = self.written.get(item_id)
        if written is None or json.dumps(payload) not in written.sent:
            return f"{item_id} was never written so"
        is_settled = not written.is_uncertain and begin - written.since > SETTLED_S
        if is_settled and payload != written.payload:
            return f"{item_id} was replaced or deleted {begin - written.since:.1f} s before"
        return ""


def _known(bundle: Bundle) -> dict[str, tuple[list[int], dict[str, Any]]]:
    """Returns semantic ID and attributes of a bundle's items by item_id."""
    codes = bundle.learned.codes_RL.tolist()
    return {item.item_id: (row, item.attributes) for item, row in zip(items_of(bundle.items), codes, strict=True)}
