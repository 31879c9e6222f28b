"""The routes of what is known of a model from its training: the figures of its evaluation, and the report."""

import asyncio
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse

from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.report import REPORT_POLICY, read_report
from rqrec.models.bundle.store import bundles_at_hand
from rqrec.service.contract.browse import EvaluationReply
from rqrec.service.errors import NoReport, UnknownModel
from rqrec.service.http.dependencies import RuntimeNow
from rqrec.service.http.problems import DEADLINE, INVALID, NO_REPORT, NOT_READY, OVERLOADED, UNKNOWN_MODEL, declared

router = APIRouter()
HEADERS = {
    "content-security-policy": f"{REPORT_POLICY}; frame-ancestors 'none'",
    "cache-control": "private, max-age=86400, immutable",  # a bundle never changes
}
VersionInPath = Annotated[str, InPath(max_length=256, examples=["ml-100k-83feea3933432d8e"])]


@router.get(
    "/models/{version}/evaluation",
    tags=["catalogue"],
    responses=declared(UNKNOWN_MODEL, INVALID, OVERLOADED, NOT_READY, DEADLINE),
)
async def get_evaluation(runtime: RuntimeNow, version: VersionInPath) -> EvaluationReply:
    """Returns how accurate a loaded model was at its training, and how accurate simple models were beside it.

    Args:
        runtime: The running service.
        version: Version of a loaded model; GET /readyz names these.
    """
    model = next((one for one in runtime.deployment.models if one.version == version), None)
    if model is None:
        raise UnknownModel(f"no loaded model has the version {version!r}: GET /readyz names the loaded models")
    manifest = model.bundle.manifest
    return EvaluationReply(
        model_version=version,
        dataset=manifest.dataset,
        created_at=manifest.created_at,
        learnt_until=manifest.learnt_until or None,
        refit=manifest.refit,
        metrics={name: dict(figures) for name, figures in manifest.metrics.items()},
    )


@router.get(
    "/models/{version}/report",
    tags=["catalogue"],
    response_class=HTMLResponse,
    responses=declared(NO_REPORT, UNKNOWN_MODEL, INVALID, OVERLOADED, NOT_READY, DEADLINE),
)
async def get_report(runtime: RuntimeNow, version: VersionInPath) -> HTMLResponse:
    """Returns the training report of a model: a page that shows what each stage of its training did.

    The page has no scripts and loads nothing.

    Args:
        runtime: The running service.
        version: Version of the model. The model need not be loaded.
    """
    async with runtime.long_turn():  # one at a time, because a page is large
        page = await asyncio.to_thread(_report_of, runtime.models.bundles, version)
    return HTMLResponse(page, headers=HEADERS)


def _report_of(bundles: Path, version: str) -> bytes:
    """Reads the report. The version is compared with those of the bundles; it is part of no path."""
    folder = bundles_at_hand(bundles).get(version)
    if folder is None:
        raise UnknownModel(f"there is no bundle {version!r}: GET /models lists the bundles")
    try:
        page = read_report(folder)
    except BundleError as error:
        raise NoReport(f"the training report of {version!r} cannot be read: {error}") from error
    if page is None:
        raise NoReport(
            f"the bundle {version!r} has no training report: an older release published it, or a training with "
            "PublishSettings.report = False"
        )
    return page
