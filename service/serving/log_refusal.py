"""Writes every refused change of the models to the log, whoever asked for it."""

import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from rqrec.service.errors import Conflict, InvalidPart, NotReady, UnknownModel, UnusableModel
from rqrec.service.serving.deployment import Role

P = ParamSpec("P")
OwnerT = TypeVar("OwnerT")
ResultT = TypeVar("ResultT")
REFUSALS = (Conflict, InvalidPart, NotReady, UnknownModel, UnusableModel)
logger = logging.getLogger("rqrec")


def logs_refusal(
    assign: Callable[Concatenate[OwnerT, str, Role, P], Awaitable[ResultT]],
) -> Callable[Concatenate[OwnerT, str, Role, P], Coroutine[Any, Any, ResultT]]:
    """Decorates a method that gives a model a role: if it is refused, a warning says which model, which role and why.

    A conflict of a caller who named the `expected` rollout is no fault: another replica was faster, which it handles.
    """

    @wraps(assign)
    async def logged(self: OwnerT, version: str, role: Role, /, *args: P.args, **kwargs: P.kwargs) -> ResultT:
        try:
            return await assign(self, version, role, *args, **kwargs)
        except REFUSALS as error:
            if not (isinstance(error, Conflict) and kwargs.get("expected") is not None):
                logger.warning("model %s was refused as %s: %s", version, role.value, error)
            raise

    return logged
