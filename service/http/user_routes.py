"""The routes of events and users. Everybody may send events; reading or forgetting a user needs the admin token."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from rqrec.service.contract.events import EventsReply, EventsRequest, RejectedEvent, UserReply
from rqrec.service.contract.replies import MAX_PAGE
from rqrec.service.events.store import START
from rqrec.service.http.admin.routes import require_admin
from rqrec.service.http.bodies import read_json
from rqrec.service.http.dependencies import RuntimeNow
from rqrec.service.http.openapi import json_body
from rqrec.service.http.problems import (
    ADMIN_OFF,
    DEADLINE,
    INVALID,
    MAX_DETAIL,
    OVERLOADED,
    STORE_UNAVAILABLE,
    TOO_LARGE,
    UNAUTHORIZED,
    UNKNOWN_USER,
    UNSUPPORTED_ENCODING,
    declared,
    json_pointer,
    shortened,
)
from rqrec.service.http.routes import JSON
from rqrec.service.users.intake import CheckedEvents

SMALL_LIST = 100  # events; checking a thousand takes milliseconds
USER = "/users/{user_id:path}"  # the `path` converter, because a user id may contain a slash
ADMIN_FAULTS = (ADMIN_OFF, UNAUTHORIZED, INVALID, OVERLOADED, STORE_UNAVAILABLE)
MAX_AFTER = 64  # characters
UserIdInPath = Annotated[str, Path(min_length=1, max_length=256, examples=["42"])]
router = APIRouter(tags=["users"])


@router.post(
    "/events",
    responses=declared(TOO_LARGE, UNSUPPORTED_ENCODING, INVALID, OVERLOADED, STORE_UNAVAILABLE, DEADLINE),
    openapi_extra=json_body(EventsRequest),
)
async def post_events(request: Request, runtime: RuntimeNow) -> EventsReply:
    """Stores what users did.

    The answer comes when the good events are durable. The next recommendation for a user reads them. Faulty events are
    named and not stored. To be able to send events again after a lost answer, give each an `event_id`.

    Args:
        request: The request; its body is an `EventsRequest`.
        runtime: The running service.
    """
    events = (await read_json(request.scope, request.receive, runtime, EventsRequest)).events
    if len(events) > SMALL_LIST:
        async with runtime.long_turn():
            checked = runtime.users.check(events)
    else:
        checked = runtime.users.check(events)
    result = await runtime.users.append(checked)
    return EventsReply(
        accepted=result.accepted,
        duplicates=result.duplicates,
        num_rejected=checked.num_rejected,
        rejected=_rejected(checked),
    )


@router.get(
    USER,
    response_model=UserReply,
    responses=declared(*ADMIN_FAULTS, UNKNOWN_USER),
    dependencies=[Depends(require_admin)],
)
async def get_user(
    user_id: UserIdInPath,
    runtime: RuntimeNow,
    after: Annotated[str, Query(max_length=MAX_AFTER)] = START,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = MAX_PAGE,
) -> Response:
    """Returns all that is stored of a user, page by page.

    Follow `next_after` until it is null: a page may have few events, or none, and still not be the last one. Events
    that were exported are no longer stored here.

    Args:
        user_id: Id of the user.
        runtime: The running service.
        after: `next_after` of the page before; empty for the first page.
        limit: Most events of the page.
    """
    page = await runtime.users.page(user_id, after, limit)
    async with runtime.long_turn():  # a thousand events take milliseconds
        reply = UserReply.model_validate({"user_id": user_id, **vars(page)}, from_attributes=True)
        return Response(reply.model_dump_json(), media_type=JSON)


@router.delete(USER, status_code=204, responses=declared(*ADMIN_FAULTS), dependencies=[Depends(require_admin)])
async def delete_user(user_id: UserIdInPath, runtime: RuntimeNow) -> None:
    """Forgets a user: deletes all that is stored of the user, here and in exported files.

    The exported files are changed by the next export. Events that arrive afterwards belong to a new user. Doing this
    again does no harm, also if nothing is stored.

    Args:
        user_id: Id of the user.
        runtime: The running service.
    """
    await runtime.users.forget(user_id)


def _rejected(checked: CheckedEvents) -> list[RejectedEvent]:
    """The named faults, each cut to a limit."""
    return [
        RejectedEvent(
            index=fault.index,
            pointer=json_pointer(("events", fault.index, *fault.place)),
            detail=shortened(fault.detail, MAX_DETAIL),
        )
        for fault in checked.faults
    ]
