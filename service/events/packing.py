"""Packs what the stores hold as JSON text, and hashes the ids of events."""

import functools
import hashlib
from collections.abc import Callable
from math import isfinite
from typing import ParamSpec, TypeVar

import orjson

from rqrec.service.errors import StoreRefused
from rqrec.service.events.event import Event, ForgottenUser, HistoryEntry, Impression, Record

ID_HASH_BYTES = 16
P = ParamSpec("P")
UnpackedT = TypeVar("UnpackedT")


def _unpacking(unpack: Callable[P, UnpackedT]) -> Callable[P, UnpackedT]:
    """Makes a function raise StoreRefused if a stored value is none that this store packed."""

    @functools.wraps(unpack)
    def checked(*args: P.args, **kwargs: P.kwargs) -> UnpackedT:
        try:
            return unpack(*args, **kwargs)
        except (TypeError, ValueError) as error:
            raise StoreRefused(
                f"the event store must hold only what the service wrote, but holds another value ({error}): restore a "
                "copy"
            ) from error

    return checked


def hash_event_id(event: Event) -> bytes:
    """Returns a hash of an event's user and id, by which a store recognises an event that it has stored before.

    Stores remember this hash and not the ids, so it is no data about a person that must be deleted with the user.
    """
    text = f"{len(event.user_id)}:{event.user_id}{event.event_id}"
    return hashlib.blake2b(text.encode(), digest_size=ID_HASH_BYTES).digest()


def pack_event(event: Event) -> str:
    """Returns an event without its user as a JSON list.

    Args:
        event: The event.

    Raises:
        ValueError: If the event's time or value is not finite, or one of its texts is not valid Unicode.
    """
    if not isfinite(event.at) or not isfinite(event.value or 0.0):
        raise ValueError(f"an event's at and value must be finite numbers, but are {event.at} and {event.value}")
    fields = (event.event_id, event.item_id, event.type, event.at, event.value, event.recommendation_id)
    return _to_json(fields)


@_unpacking
def unpack_event(user_id: str, text: str) -> Event:
    """Returns the event that `pack_event` packed.

    Args:
        user_id: The event's user.
        text: The packed event.
    """
    event_id, *fields = orjson.loads(text)
    return Event(event_id, user_id, *fields)


def unpack_record(user_id: str, event: str | None) -> Record:
    """Returns a record of the stream.

    Args:
        user_id: The record's user.
        event: The packed event; None for a record which says that the user was forgotten.
    """
    return ForgottenUser(user_id) if event is None else unpack_event(user_id, event)


def pack_entry(event: Event) -> str:
    """Returns the history entry of an event as a JSON list that begins with its time."""
    return _to_json((event.at, event.type, event.item_id))


def pack_entry_without_time(event: Event) -> str:
    """Returns the history entry of an event as a JSON list of item and type."""
    return _to_json((event.item_id, event.type))


@_unpacking
def unpack_entries(text: str) -> list[HistoryEntry]:
    """Returns the history entries of a JSON list of what `pack_entry` packed."""
    return [HistoryEntry(item_id, event_type, at) for at, event_type, item_id in orjson.loads(text)]


def pack_impression(impression: Impression) -> str:
    """Returns an impression as a JSON list.

    Args:
        impression: The impression.

    Raises:
        ValueError: If the impression's time is not finite, or one of its texts is not valid Unicode.
    """
    if not isfinite(impression.at):
        raise ValueError(f"an impression's at must be a finite number, but is {impression.at}")
    one = impression
    shown = (one.recommendation_id, one.user_id, one.surface, one.model_version, one.role, one.item_ids, one.at)
    return _to_json((*shown, one.after, one.trial, one.bucket))


@_unpacking
def unpack_impression(text: str) -> Impression:
    """Returns the impression that `pack_impression` packed."""
    recommendation_id, user_id, surface, model_version, role, item_ids, at, *fields = orjson.loads(text)
    return Impression(recommendation_id, user_id, surface, model_version, role, tuple(item_ids), at, *fields)


def _to_json(fields: tuple[object, ...]) -> str:
    try:
        return orjson.dumps(fields).decode()
    except orjson.JSONEncodeError as error:
        raise ValueError(f"must hold valid Unicode text and numbers: {error}") from error
