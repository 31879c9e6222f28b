"""Reads the request that all users of a bulk run share: POST /recommend without the fields that belong to one user."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from rqrec.models.errors import UserError
from rqrec.service.contract.fields import VALUE_ERROR
from rqrec.service.contract.recommend import RecommendRequest

# Fields of POST /recommend that make no sense for many users at once, with what to do instead.
REFUSED = {
    "user_id": "the input has a column user_id",
    "history": "the input has a column history",
    "after": "there are no pages: set a larger k",
    "exclude_shown_s": "put the ids into a column exclude of the input",
    "surface": "lists are not stored as shown",
    "routing_key": "--bundle names the model",
    "model_version": "--bundle names the model",
    "explain": "lists of many users are not explained",
    "timeout_ms": "there is no deadline",
}
MOST_FAULTS = 5  # named in an error


class InvalidRequest(UserError):
    """Raised when the request of a bulk run is invalid."""


def read_fields(file: Path | None, further: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of the request.

    Args:
        file: A JSON file with fields of POST /recommend; None for no file.
        further: Further fields, which take the place of those in the file.

    Raises:
        InvalidRequest: If the file holds no JSON object.
    """
    fields: object = {}
    if file is not None:
        try:
            fields = json.loads(file.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise InvalidRequest(f"the file of the request cannot be read: {error}") from error
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"expected JSON in {file}, got something else ({error})") from error
        if not isinstance(fields, dict):
            raise InvalidRequest(f'expected an object such as {{"k": 10}} in {file}, got {type(fields).__name__}')
    return {**fields, **further}  # type: ignore[dict-item]


def checked_request(fields: Mapping[str, Any], *, at: float | None, has_events: bool, most_excluded: int) -> str:
    """Checks the request by the rules of POST /recommend.

    Args:
        fields: The fields of the request.
        at: When the lists are wanted if the fields do not say it, in seconds since 1970; None for now.
        has_events: Whether the histories are made of events, so that items can be excluded by their types.
        most_excluded: Largest number of ids in `exclude`.

    Returns:
        The request as JSON.

    Raises:
        InvalidRequest: If a field is invalid, or does not suit many users.
    """
    for name, instead in REFUSED.items():
        if name in fields:
            raise InvalidRequest(f"the request must have no {name}: {instead}")
    if fields.get("exclude_types") and not has_events:
        raise InvalidRequest("exclude_types needs histories that are made of events: give them with --events")
    suited = [name for name in RecommendRequest.model_fields if name not in REFUSED]
    if unknown := [name for name in fields if name not in suited]:
        raise InvalidRequest(
            f"the request is invalid: {unknown[0]}: no field of POST /recommend has this name: the fields are "
            f"{', '.join(suited)}"
        )
    try:
        request = RecommendRequest.model_validate({"at": time.time() if at is None else at, **fields})
    except ValidationError as error:
        faults = error.errors()[:MOST_FAULTS]
        told = "; ".join(f"{_place(one['loc'])}{_fault(one['type'], one['msg'])}" for one in faults)
        raise InvalidRequest(f"the request is invalid: {told}") from error
    if len(request.exclude) > most_excluded:
        raise InvalidRequest(
            f"exclude may have at most {most_excluded} items, got {len(request.exclude)} (RQREC_MAX_HISTORY_ITEMS)"
        )
    return json.dumps({**fields, "at": request.at}, sort_keys=True)


def _fault(kind: str, message: str) -> str:
    return "no field has this name" if kind == "extra_forbidden" else message.removeprefix(VALUE_ERROR)


def _place(names: tuple[int | str, ...]) -> str:
    return "".join(f"{name}: " for name in names)
