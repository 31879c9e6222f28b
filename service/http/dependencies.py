"""What routes are given: the runtime, the model that answers, and an item id from the path."""

from typing import Annotated

from fastapi import Depends, Path, Request
from pydantic import AfterValidator

from rqrec.service.serving.runtime import Runtime
from rqrec.service.serving.served_model import ServedModel

SEMANTIC_ID = "/semantic-id"  # the end of a path, which no item id may have


def _not_of_another_route(item_id: str) -> str:
    if item_id.endswith(SEMANTIC_ID):
        raise ValueError(f"an item id in a path may not end in {SEMANTIC_ID}")
    return item_id


# A path, for an id may hold a slash.
ItemIdInPath = Annotated[str, Path(min_length=1, max_length=256, examples=["1"]), AfterValidator(_not_of_another_route)]


def runtime_of(request: Request) -> Runtime:
    """The app's."""
    runtime: Runtime = request.app.state.runtime
    return runtime


async def _runtime_now(request: Request) -> Runtime:  # a plain function would run in a thread
    return runtime_of(request)


async def _model_now(request: Request) -> ServedModel:
    return runtime_of(request).deployment.active


RuntimeNow = Annotated[Runtime, Depends(_runtime_now)]
ModelNow = Annotated[ServedModel, Depends(_model_now)]
