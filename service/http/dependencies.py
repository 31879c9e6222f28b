"""FastAPI dependencies of the routes: the runtime, the active model, and what paths hold."""

from typing import Annotated

from fastapi import Depends, Path, Request
from pydantic import AfterValidator

from rqrec.service.serving.runtime import Runtime
from rqrec.service.serving.served_model import ServedModel

# The ends of other routes' paths, so no item id in a path may end in them.
SEMANTIC_ID, SIMILAR = "/semantic-id", "/similar"


def _not_of_another_route(item_id: str) -> str:
    for end in (SEMANTIC_ID, SIMILAR):
        if item_id.endswith(end):
            raise ValueError(f"expected an item id that does not end in {end}, which is another route")
    return item_id


# The routes use the `path` converter, because an item id may contain a slash.
ItemIdInPath = Annotated[str, Path(min_length=1, max_length=256, examples=["1"]), AfterValidator(_not_of_another_route)]

# The first codes of semantic IDs, joined by hyphens.
PrefixInPath = Annotated[str, Path(pattern=r"^[0-9]{1,9}(-[0-9]{1,9})*$", max_length=256, examples=["12-7"])]


def runtime_of(request: Request) -> Runtime:
    """Returns the running service of the app that got the request."""
    runtime: Runtime = request.app.state.runtime
    return runtime


async def _runtime_now(request: Request) -> Runtime:  # FastAPI would run a plain function in a thread
    return runtime_of(request)


async def _model_now(request: Request) -> ServedModel:
    return runtime_of(request).deployment.active


RuntimeNow = Annotated[Runtime, Depends(_runtime_now)]
ModelNow = Annotated[ServedModel, Depends(_model_now)]
