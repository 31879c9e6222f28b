import asyncio
import logging

import pytest

from rqrec.service.errors import StoreUnavailable
from rqrec.service.periodic import Periodic


def test_what_fails_is_tried_less_and_less_often_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rqrec")
    calls, is_broken = 0, True

    async def work() -> None:
        nonlocal calls
        calls += 1
        if is_broken:
            raise RuntimeError("it is broken")

    async def scenario() -> None:
        nonlocal is_broken
        periodic = Periodic(work, 0.005)
        periodic.start()
        await asyncio.sleep(0.5)
        assert 3 <= calls <= 8  # at 5, 15, 35, 75, 155, 315 ms
        periodic.now()  # a failure's pause is not skipped
        await asyncio.sleep(0.01)
        assert calls <= 8
        is_broken = False
        while periodic.pause_s > 0.005:
            await asyncio.sleep(0.01)
        await periodic.stop()

    asyncio.run(scenario())
    assert caplog.text.count("RuntimeError: it is broken") == 1
    assert caplog.text.count("succeeded again") == 1


def test_an_outage_of_something_else_is_one_warning_and_one_line_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rqrec")
    failures = iter([True] * 3)

    async def work() -> None:
        if next(failures, False):
            raise StoreUnavailable("it is away")

    async def scenario() -> None:
        periodic = Periodic(work, 0.001, expected=StoreUnavailable)
        periodic.start()
        await asyncio.sleep(0.2)
        await periodic.stop()

    asyncio.run(scenario())
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "it is away" in caplog.records[0].message


def test_a_pause_has_a_longest_length() -> None:
    async def work() -> None:
        raise RuntimeError

    for periodic, longest_s in ((Periodic(work, 5.0), 60.0), (Periodic(work, 0.1, longest_pause_s=1.0), 1.0)):
        periodic._failures = 32
        assert periodic.pause_s == longest_s
