import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from rqrec.service.admission.request_context import RequestContext
from rqrec.service.admission.time_limit import TimeLimit
from rqrec.service.errors import DeadlinePassed, NotReady
from rqrec.service.search import batcher as module
from rqrec.service.search.batcher import Batcher
from rqrec.service.telemetry import Metrics

Run = Callable[[str, Sequence[int]], list[int]]


class Gate:
    """A search that waits until it is released, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[int]]] = []
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, key: str, work: Sequence[int]) -> list[int]:
        self.batches.append((key, list(work)))
        self.entered.release()
        assert self.open.wait(10)
        return [10 * one for one in work]

    async def wait_until_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.acquire, timeout=10)


@asynccontextmanager
async def batcher_of(
    run: Run, *, workers: int = 1, max_batch: int = 8, max_queue: int = 100
) -> AsyncIterator[Batcher[str, int, int]]:
    batcher: Batcher[str, int, int] = Batcher(run, Metrics(), workers=workers, max_batch=max_batch, max_queue=max_queue)
    batcher.start()
    try:
        yield batcher
    finally:
        await asyncio.to_thread(batcher.stop)


async def submitted(batcher: Batcher[str, int, int], *work: tuple[str, int]) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(batcher.submit(key, one)) for key, one in work]
    await asyncio.sleep(0)
    return tasks


def context(*, timeout_s: float) -> RequestContext:
    return RequestContext("somebody", body_limit=TimeLimit(1.0), answer_limit=TimeLimit(timeout_s))


def value(batcher: Batcher[str, int, int], name: str, **labels: str) -> float:
    return batcher._metrics.registry.get_sample_value(name, labels) or 0.0


def test_a_batch_forms_while_the_last_one_runs() -> None:
    async def scenario() -> None:
        gate = Gate()
        async with batcher_of(gate, max_batch=3) as batcher:
            first = await submitted(batcher, ("a", 1))
            await gate.wait_until_entered()  # a batch of one, without waiting
            others = await submitted(batcher, ("a", 2), ("b", 3), ("a", 4), ("a", 5), ("a", 6))
            assert value(batcher, "rqrec_queue_depth") == 5
            gate.open.set()
            assert await asyncio.gather(*first, *others) == [10, 20, 30, 40, 50, 60]
        assert gate.batches[0] == ("a", [1])
        assert sorted(gate.batches[1:]) == [("a", [2, 4, 5]), ("a", [6]), ("b", [3])]
        assert value(batcher, "rqrec_batch_size_count") == 4

    asyncio.run(scenario())


def test_work_is_in_the_search_until_the_event_loop_has_its_result() -> None:
    async def scenario() -> None:
        gate = Gate()
        async with batcher_of(gate, max_batch=4) as batcher:
            tasks = await submitted(batcher, *(("a", one) for one in range(3)))
            await gate.wait_until_entered()
            gate.open.set()
            deadline = time.monotonic() + 10
            while value(batcher, "rqrec_recommend_stage_duration_seconds_count", stage="search") < 1:
                assert time.monotonic() < deadline
                time.sleep(0.01)  # the event loop is busy; the search thread ends meanwhile
            assert (batcher.waiting, batcher.running) == (0, 3)
            assert await asyncio.gather(*tasks) == [0, 10, 20]
            assert batcher.running == 0

    asyncio.run(scenario())


def test_work_whose_caller_is_gone_does_not_run() -> None:
    async def scenario() -> None:
        gate = Gate()
        async with batcher_of(gate) as batcher:
            (begun,) = await submitted(batcher, ("a", 1))
            await gate.wait_until_entered()
            assert batcher.running == 1
            begun.cancel()
            await asyncio.wait([begun])
            assert batcher.running == 0  # although a thread still computes its result
            queued = await submitted(batcher, *(("a", one) for one in range(2, 6)))
            for one in queued:
                one.cancel()
            await asyncio.wait(queued)
            gate.open.set()
            while batcher.waiting:
                assert batcher.running == 0  # also while the event loop is busy
                time.sleep(0.001)
            assert batcher.running == 0

    asyncio.run(scenario())


def test_in_a_backlog_a_spare_thread_takes_larger_batches() -> None:
    async def scenario() -> None:
        gate = Gate()
        async with batcher_of(gate, max_batch=2, max_queue=8) as batcher:
            await submitted(batcher, ("a", 0))
            await gate.wait_until_entered()
            tasks = await submitted(batcher, *(("a", one) for one in range(1, 4)))
            await asyncio.sleep(0.1)
            assert value(batcher, "rqrec_queue_depth") == 3  # no backlog yet: a second batch does not begin
            tasks += await submitted(batcher, ("a", 4), ("a", 5))
            await gate.wait_until_entered()  # while the first batch runs
            assert gate.batches == [("a", [0]), ("a", [1, 2, 3, 4])]
            gate.open.set()
            assert await asyncio.gather(*tasks) == [10, 20, 30, 40, 50]

    asyncio.run(scenario())


def test_work_that_nobody_waits_for_is_not_begun() -> None:
    async def scenario() -> None:
        gate = Gate()
        async with batcher_of(gate) as batcher:
            running = await submitted(batcher, ("a", 1))
            await gate.wait_until_entered()
            left, stays = await submitted(batcher, ("a", 2), ("a", 3))
            left.cancel()
            with pytest.raises(DeadlinePassed):
                await context(timeout_s=0.02).run(batcher.submit("a", 4))
            with pytest.raises(DeadlinePassed):
                await context(timeout_s=0.0).run(batcher.submit("a", 5))
            gate.open.set()
            assert await asyncio.gather(*running, stays) == [10, 30]
            assert left.cancelled()
        assert gate.batches == [("a", [1]), ("a", [3])]
        assert value(batcher, "rqrec_requests_shed_total", reason="abandoned") == 3

    asyncio.run(scenario())


def test_one_poisoned_request_fails_alone() -> None:
    def run(_key: str, work: Sequence[int]) -> list[int]:
        if 13 in work:
            raise ValueError("unlucky")
        return list(work)

    async def scenario() -> None:
        gate = Gate()

        def gated(key: str, work: Sequence[int]) -> list[int]:
            return gate(key, work) if key == "gate" else run(key, work)

        async with batcher_of(gated, max_batch=8) as batcher:
            first = await submitted(batcher, ("gate", 1))
            await gate.wait_until_entered()
            tasks = await submitted(batcher, *(("a", one) for one in (11, 12, 13, 14, 15)))
            gate.open.set()
            results = await asyncio.gather(*first, *tasks, return_exceptions=True)
        assert results[:3] == [10, 11, 12]
        assert isinstance(results[3], ValueError)
        assert results[4:] == [14, 15]

    asyncio.run(scenario())


def test_stopping_answers_what_waits_and_refuses_what_comes() -> None:
    async def scenario() -> None:
        gate = Gate()
        async with batcher_of(gate, max_batch=1) as batcher:
            tasks = await submitted(batcher, ("a", 1), ("a", 2), ("a", 3))
            await gate.wait_until_entered()
            stopping = asyncio.create_task(asyncio.to_thread(batcher.stop))
            while not batcher._draining:
                await asyncio.sleep(0.001)
            with pytest.raises(NotReady):
                await batcher.submit("a", 4)
            gate.open.set()
            assert await asyncio.gather(*tasks) == [10, 20, 30]
            await stopping
            assert not batcher.is_working

    asyncio.run(scenario())


def test_a_crashed_thread_fails_its_batch_is_noticed_and_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESTART_PAUSE_S", 0.2)

    def run(_key: str, work: Sequence[int]) -> list[int]:
        if 13 in work:
            raise SystemExit
        return list(work)

    async def scenario() -> None:
        async with batcher_of(run) as batcher:
            assert await batcher.submit("a", 1) == 1
            assert batcher.is_working
            with pytest.raises(RuntimeError, match="the search crashed"):
                await batcher.submit("a", 13)
            while batcher.is_working:  # the thread changes this shortly after it has failed the batch
                await asyncio.sleep(0.001)
            assert await batcher.submit("a", 2) == 2
            assert batcher.is_working
            assert value(batcher, "rqrec_search_crashes_total") == 1

    asyncio.run(scenario())


def test_several_threads_share_the_queue() -> None:
    async def scenario() -> None:
        barrier = threading.Barrier(2, timeout=10)

        def run(_key: str, work: Sequence[int]) -> list[int]:
            if work[0] < 2:
                barrier.wait()  # passes only if two batches run at the same time
            return list(work)

        async with batcher_of(run, workers=2, max_batch=1) as batcher:
            tasks = await submitted(batcher, *(("a", one) for one in range(20)))
            assert await asyncio.gather(*tasks) == list(range(20))
            assert batcher.is_working

    asyncio.run(scenario())
