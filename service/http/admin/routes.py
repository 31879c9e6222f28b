"""The admin routes, which write items and change models. A request to them must carry the admin token.

If the service has no admin token, the admin routes are off.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from rqrec.service.catalogue.changes import Delete, Outcome, Result
from rqrec.service.contract.admin import ActivateRequest, ModelList, WriteItemRequest, WrittenItem
from rqrec.service.errors import AdminOff, Conflict, ReadOnly, Unauthorized, UnknownItem
from rqrec.service.http.admin.model_replies import model_list
from rqrec.service.http.bodies import parse_json, read_body, read_json
from rqrec.service.http.dependencies import ItemIdInPath, ModelNow, RuntimeNow
from rqrec.service.http.openapi import json_body
from rqrec.service.http.problems import (
    ADMIN_OFF,
    CONFLICT,
    INVALID,
    NOT_READY,
    OVERLOADED,
    TOO_LARGE,
    UNAUTHORIZED,
    UNKNOWN_ITEM,
    UNKNOWN_MODEL,
    UNSUPPORTED_ENCODING,
    declared,
)
from rqrec.service.replication.live_catalogue import LiveCatalogue
from rqrec.service.serving.deployment import Role
from rqrec.service.serving.served_model import ServedModel

bearer = HTTPBearer(auto_error=False, description="RQREC_ADMIN_TOKEN")


async def require_admin(
    runtime: RuntimeNow, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> None:
    """Checks that a request has the admin token. A FastAPI dependency of all admin routes.

    Args:
        runtime: The running service, which knows the admin token.
        credentials: The bearer token of the request; None if the request has no bearer token.

    Raises:
        AdminOff: If the service has no admin token.
        Unauthorized: If the request has a wrong token or no token.
    """
    token = runtime.admission.admin_token
    if not token.is_set:
        raise AdminOff("the admin routes are off: set RQREC_ADMIN_TOKEN to use them")
    if credentials is None or not token.matches(credentials.credentials.encode()):
        raise Unauthorized("send the header `Authorization: Bearer <RQREC_ADMIN_TOKEN>`")


router = APIRouter(dependencies=[Depends(require_admin)])
FAULTS = (ADMIN_OFF, UNAUTHORIZED, CONFLICT, INVALID, OVERLOADED, NOT_READY)


@router.put(
    "/items/{item_id:path}",
    tags=["catalogue"],
    responses={
        **declared(*FAULTS, TOO_LARGE, UNSUPPORTED_ENCODING),
        201: {"description": "The item is new.", "model": WrittenItem},
    },
    openapi_extra=json_body(WriteItemRequest),
)
async def put_item(
    request: Request, item_id: ItemIdInPath, runtime: RuntimeNow, model: ModelNow, response: Response
) -> WrittenItem:
    """Adds or replaces an item.

    This replica can recommend the item when the request is answered; the other replicas follow soon after. Sending the
    same request again does no harm.

    Args:
        request: The request; its body is a `WriteItemRequest`.
        item_id: Id of the item.
        runtime: The running service.
        model: The active model, whose catalogue must be writable.
        response: Takes the status: 201 for a new item.
    """
    _live(model)
    body = await read_json(request.scope, request.receive, runtime, WriteItemRequest)
    async with runtime.models.writing() as writable:
        live = _live(writable)
        put = await writable.tokenise(item_id, body.attributes, body.text_vector)
        outcome = _checked(await live.write(put), item_id)
        response.status_code = 201 if outcome.result is Result.ADDED else 200
        return WrittenItem(
            item_id=item_id,
            semantic_id=list(outcome.semantic_id),
            model_version=live.snapshot.version,
            catalogue_version=live.snapshot.catalogue_version,
        )


@router.delete("/items/{item_id:path}", tags=["catalogue"], status_code=204, responses=declared(*FAULTS, UNKNOWN_ITEM))
async def delete_item(item_id: ItemIdInPath, runtime: RuntimeNow) -> None:
    """Deletes an item, so that it is never recommended. Histories may still name it; it is then skipped.

    Args:
        item_id: Id of the item.
        runtime: The running service.
    """
    async with runtime.models.writing() as model:
        live = _live(model)
        if not live.holds(item_id):  # another replica may have confirmed it for another model
            await runtime.models.learn_all(model)
        _checked(await live.write(Delete(item_id)), item_id)


@router.get("/models", tags=["models"], responses=declared(ADMIN_OFF, UNAUTHORIZED, OVERLOADED, NOT_READY))
async def get_models(runtime: RuntimeNow) -> ModelList:
    """Lists the bundles in the folder of bundles, with the role of each model.

    The active model and the canary have rates: how many of their lists were clicked, and how many led to a conversion.
    With a canary, `trial` says whether it is better than the active model.
    """
    return await model_list(runtime, runtime.deployment)


@router.post(
    "/models/{version}/activate",
    tags=["models"],
    responses=declared(*FAULTS, TOO_LARGE, UNSUPPORTED_ENCODING, UNKNOWN_MODEL),
    openapi_extra=json_body(ActivateRequest),
)
async def activate_model(
    request: Request, version: Annotated[str, Path(max_length=256)], runtime: RuntimeNow
) -> ModelList:
    """Gives a model a role. If this fails, the models keep their roles.

    The model is loaded while the present ones answer. It must give the answers recorded in its bundle. Then the service
    switches between two requests. Other replicas follow through Redis, within seconds. To roll back, activate the model
    that was active before.

    Args:
        request: The request; its body is an `ActivateRequest`, or empty.
        version: Version of the model.
        runtime: The running service.
    """
    body = await read_body(request.scope, request.receive, runtime)
    wanted = parse_json(body, ActivateRequest) if body else ActivateRequest()
    await runtime.models.assign(version, Role(wanted.part), wanted.share)
    return await model_list(runtime, runtime.deployment)


def _live(model: ServedModel) -> LiveCatalogue:
    """The catalogue of a model, which must be writable."""
    if model.live is None:
        raise ReadOnly(
            "the catalogue cannot be written without Redis, which keeps changes after a restart: set RQREC_REDIS_URL"
        )
    return model.live


def _checked(outcome: Outcome, item_id: str) -> Outcome:
    """Raises the error of a change that was not made."""
    if outcome.result is Result.UNKNOWN_ITEM:
        raise UnknownItem(f"the catalogue holds no item {item_id!r}")
    if outcome.result is Result.LAST_ITEM:
        raise Conflict("the last item of a catalogue cannot be deleted: add another item first")
    return outcome
