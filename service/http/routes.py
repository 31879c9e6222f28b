"""The routes of recommendations, probes and metrics."""

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.types import Receive, Scope

from rqrec.service.admission.request_context import context_of
from rqrec.service.contract.recommend import RecommendRequest
from rqrec.service.contract.replies import (
    Health,
    Readiness,
    RecommendReply,
)
from rqrec.service.errors import InvalidPart, TooLarge
from rqrec.service.http.bodies import read_json
from rqrec.service.http.dependencies import ModelNow, RuntimeNow
from rqrec.service.http.openapi import json_body
from rqrec.service.http.problems import (
    DEADLINE,
    INVALID,
    NOT_READY,
    OVERLOADED,
    STORE_UNAVAILABLE,
    TOO_LARGE,
    UNSUPPORTED_ENCODING,
    declared,
)
from rqrec.service.serving.recommending.recommend import recommend
from rqrec.service.serving.runtime import Runtime

router = APIRouter()
RECOMMEND, HEALTH = "/recommend", "/healthz"
JSON = "application/json"


@router.post(
    RECOMMEND,
    tags=["recommendations"],
    response_model=RecommendReply,
    responses=declared(TOO_LARGE, UNSUPPORTED_ENCODING, INVALID, OVERLOADED, NOT_READY, STORE_UNAVAILABLE, DEADLINE),
    openapi_extra=json_body(RecommendRequest),
)
async def post_recommend(request: Request) -> Response:
    """Recommends the next items after a history, which is given, stored for a user, or both.

    History ids that are not in the catalogue are skipped and listed in the reply. If no history item is left, the reply
    has the most popular items.
    """
    return Response(await answer_recommend(request.scope, request.receive, request.app.state.runtime), media_type=JSON)


async def answer_recommend(scope: Scope, receive: Receive, runtime: Runtime) -> bytes:
    """Answers POST /recommend.

    Args:
        scope: The request's ASGI scope.
        receive: ASGI's `receive`, which returns the parts of the request's body.
        runtime: The running service.

    Returns:
        A `RecommendReply` as JSON.

    Raises:
        Exception: An error of `service.errors`, or RequestValidationError if the body is invalid.
    """
    deployment, max_items = runtime.deployment, runtime.limits.max_history_items
    request = await read_json(scope, receive, runtime, RecommendRequest)
    if request.user_id is None:
        _check_without_user(request)
    for name, ids in (("history", request.history), ("exclude", request.exclude)):
        if len(ids) > max_items:
            raise TooLarge(f"{name} may have at most {max_items} items, got {len(ids)}")
    return await recommend(request, runtime, deployment, context_of(scope))


def _check_without_user(request: RecommendRequest) -> None:
    if "history" not in request.model_fields_set:
        raise InvalidPart(("history",), "expected a history, a user_id, or both, got neither")
    if request.exclude_types or request.exclude_shown_s is not None:
        name = "exclude_types" if request.exclude_types else "exclude_shown_s"
        raise InvalidPart((name,), "expected a user_id beside it, got none")


@router.get(HEALTH, tags=["operation"])
async def get_health() -> Health:
    """Answers 200 while the process is alive."""
    return Health()


@router.get("/readyz", tags=["operation"], responses=declared(NOT_READY))
async def get_readiness(runtime: RuntimeNow, model: ModelNow) -> Readiness:
    """Answers 200 when a model is loaded and warmed up, the search runs, and the service is not shutting down.

    Args:
        runtime: The running service.
        model: The active model.
    """
    runtime.check_ready()
    snapshot, loaded = model.snapshot, runtime.deployment.models_by_role()
    return Readiness(
        model_version=snapshot.version,
        catalogue_version=snapshot.catalogue_version,
        models={role.value: one.version for role, one in loaded.items()},
    )


@router.get("/metrics", tags=["operation"], response_class=Response)
async def get_metrics(runtime: RuntimeNow) -> Response:
    """Returns the metrics in Prometheus' text format."""
    return Response(await runtime.metrics.page.text(), media_type=CONTENT_TYPE_LATEST)
