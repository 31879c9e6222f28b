import asyncio
from pathlib import Path

import pytest
from starlette.types import Message, Scope

from rqrec.models.bundle.error import BundleError
from rqrec.service.app import create_app
from rqrec.service.serving.device import NoDevice
from rqrec.service.serving.runtime import Runtime
from tests.service.conftest import settings_for


def failure_message(monkeypatch: pytest.MonkeyPatch, error: Exception) -> str:
    """The message of a lifespan whose start fails with an error."""

    async def fail(_engine: Runtime) -> None:
        raise error

    monkeypatch.setattr(Runtime, "start", fail)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    with pytest.raises(type(error)):
        asyncio.run(create_app(settings_for(Path("nowhere")))(scope, receive, send))
    (message,) = sent
    assert message["type"] == "lifespan.startup.failed"
    return str(message["message"])


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (BundleError("search.onnx is empty"), "cannot start: search.onnx is empty"),
        (NoDevice("there is no GPU"), "cannot start: there is no GPU"),
        (MemoryError(), "cannot start: not enough memory"),
        (RuntimeError("can't start new thread"), "cannot start: can't start new thread"),
    ],
    ids=str,
)
def test_a_start_that_fails_for_a_reason_outside_says_it_in_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    assert failure_message(monkeypatch, error) == line


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Traceback" in failure_message(monkeypatch, ZeroDivisionError("a fault"))
