"""Batching: concurrent searches share one run, and a lone one never waits.

Threads take what waits as soon as they are free, so a batch forms while the last one runs, and grows with the load by
itself: there is no timer. What cannot be waited for is refused at once.

While more waits than half of what may, answers a second count for more than the next answer: batches are twice as
large, and a spare thread searches too. It uses what of the machine one search thread leaves idle, which waits for the
interpreter while requests are refused; with little to search, two threads would only make small batches of large ones.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from service.errors import DeadlinePassed, NotReady, Overloaded
from service.fair_queue import FairQueue
from service.telemetry import Metrics

KeyT = TypeVar("KeyT", bound=Hashable)
WorkT = TypeVar("WorkT")
ResultT = TypeVar("ResultT")
BACKLOG_BATCHES = 2  # batches of usual size that are run as one
RATE_MEMORY = 0.9  # of the running mean of seconds a job
FIRST_GUESS_S = 0.001
RESTART_PAUSE_S = 0.5
logger = logging.getLogger("rqrec")


class _Job(Generic[WorkT, ResultT]):
    """One piece of work, and the future of its result, which belongs to the event loop."""

    __slots__ = ("future", "queued_at", "work")

    def __init__(self, work: WorkT, future: "asyncio.Future[ResultT]") -> None:
        self.work = work
        self.future = future
        self.queued_at = time.perf_counter()


class Batcher(Generic[KeyT, WorkT, ResultT]):
    """Runs work in batches of one key, in threads of its own.

    Args:
        run: Answers a batch: the key and its work, results in the same order. Called in a thread.
        metrics: Told of the queue, the batches and what was dropped.
        workers: Batches that run at the same time, one more in a backlog.
        max_batch: Work in one batch, at the most; twice as much in a backlog.
        max_queue: Work that may wait, at the most.
    """

    def __init__(
        self,
        run: Callable[[KeyT, Sequence[WorkT]], Sequence[ResultT]],
        metrics: Metrics,
        *,
        workers: int,
        max_batch: int,
        max_queue: int,
    ) -> None:
        self._run = run
        self._metrics = metrics
        self._max_batch = max_batch
        self._queue: FairQueue[KeyT, _Job[WorkT, ResultT]] = FairQueue(max_queue)
        self._workers, self._backlog = workers, max(max_queue // 2, BACKLOG_BATCHES * max_batch)
        lock = threading.Lock()
        self._changed, self._grown = threading.Condition(lock), threading.Condition(lock)  # grown to a backlog
        self._able = 0
        self._draining = False
        self._seconds_a_job = FIRST_GUESS_S
        self._loop: asyncio.AbstractEventLoop
        self._threads = [
            threading.Thread(
                target=self._work_on, args=(number == workers,), name=f"rqrec-search-{number}", daemon=True
            )
            for number in range(workers + 1)
        ]
        metrics.queue_depth.set_function(lambda: len(self._queue))

    def start(self) -> None:
        """Starts the threads; to be called on the event loop that will submit."""
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()

    @property
    def is_full(self) -> bool:
        """Whether the queue holds all it may."""
        return self._queue.is_full

    @property
    def waiting(self) -> int:
        """How much work waits."""
        return len(self._queue)

    @property
    def is_working(self) -> bool:
        """Whether a thread can take work: not before `start`, after `stop`, and for a while after a crash."""
        return self._able > 0

    @property
    def waiting_s(self) -> float:
        """How long work that came now would wait, by the running mean, in seconds."""
        return len(self._queue) * self._seconds_a_job / self._workers

    def overloaded(self) -> Overloaded:
        """The error for work that finds the queue full."""
        wait_s = max(math.ceil(self.waiting_s), 1)
        return Overloaded(f"{len(self._queue)} requests are waiting: try again in {wait_s} s", retry_after_s=wait_s)

    async def submit(self, key: KeyT, work: WorkT, *, deadline: float = math.inf) -> ResultT:
        """The result of one piece of work. Cancelling the caller drops the work if it still waits.

        Args:
            key: What the work shares with all that it may run with.
            work: The work.
            deadline: By `time.perf_counter`; work that no one waits for any more is not begun.

        Raises:
            Overloaded: If the queue is full; at once.
            DeadlinePassed: If the deadline has passed, at the latest when it does.
            NotReady: If the batcher was stopped before the work began.
        """
        if time.perf_counter() >= deadline:
            self._metrics.shed.labels("deadline").inc()
            raise DeadlinePassed
        job: _Job[WorkT, ResultT] = _Job(work, self._loop.create_future())
        with self._changed:
            if self._draining:
                raise NotReady("the service is shutting down")
            if not self._queue.push(key, job):
                self._metrics.shed.labels("overload").inc()
                raise self.overloaded()
            self._changed.notify()
            if self._has_backlog:
                self._grown.notify()
        if deadline == math.inf:
            return await job.future
        timer = self._loop.call_later(deadline - job.queued_at, self._expire, job)
        try:
            return await job.future
        finally:
            timer.cancel()

    def stop(self) -> None:
        """Finishes what waits and runs, then ends the threads. Blocks; more work is refused."""
        with self._changed:
            self._draining = True
            self._changed.notify_all()
            self._grown.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _expire(self, job: _Job[WorkT, ResultT]) -> None:
        if not job.future.done():
            self._metrics.shed.labels("deadline").inc()
            job.future.set_exception(DeadlinePassed())

    @property
    def _has_backlog(self) -> bool:
        return len(self._queue) >= self._backlog

    def _work_on(self, is_spare: bool) -> None:
        """Works until drained; begins anew after a crash."""
        able = 0 if is_spare else 1
        while True:
            self._count_able(able)
            try:
                self._work(is_spare)
            except BaseException:  # whatever it was: a service without this thread answers nothing
                logger.exception("the search thread crashed: it begins anew in %.1f s", RESTART_PAUSE_S)
                self._metrics.search_crashes.inc()
            else:
                return
            finally:
                self._count_able(-able)
            time.sleep(RESTART_PAUSE_S)

    def _count_able(self, change: int) -> None:
        with self._changed:
            self._able += change

    def _take(self, is_spare: bool) -> tuple[KeyT, list[_Job[WorkT, ResultT]]] | None:
        """Waits for the next batch; None where there will be none."""
        with self._changed:
            while True:
                if self._has_backlog:
                    return self._queue.pop(BACKLOG_BATCHES * self._max_batch)
                if not is_spare and (taken := self._queue.pop(self._max_batch)) is not None:
                    return taken
                if self._draining:
                    return None
                (self._grown if is_spare else self._changed).wait()

    def _work(self, is_spare: bool) -> None:
        while (taken := self._take(is_spare)) is not None:
            key, jobs = taken
            begin = time.perf_counter()
            try:
                # A job whose future is done was cancelled, by its client or its deadline: nobody waits for it.
                wanted = [job for job in jobs if not job.future.done()]
                if len(wanted) < len(jobs):
                    self._metrics.shed.labels("abandoned").inc(len(jobs) - len(wanted))
                if wanted:
                    self._observe(wanted, begin)
                    self._answer(key, wanted)
                    seconds = time.perf_counter() - begin
                    self._metrics.search_seconds.observe(seconds)
                    self._seconds_a_job += (1 - RATE_MEMORY) * (seconds / len(wanted) - self._seconds_a_job)
            except BaseException as error:
                for job in jobs:
                    self._loop.call_soon_threadsafe(_fail, job.future, RuntimeError(f"the search crashed: {error!r}"))
                raise
            finally:
                with self._changed:
                    self._queue.charge(key, time.perf_counter() - begin)

    def _observe(self, jobs: Sequence[_Job[WorkT, ResultT]], begin: float) -> None:
        self._metrics.batch_size.observe(len(jobs))
        for job in jobs:
            self._metrics.queue_seconds.observe(begin - job.queued_at)

    def _answer(self, key: KeyT, jobs: Sequence[_Job[WorkT, ResultT]]) -> None:
        try:
            results = self._run(key, [job.work for job in jobs])
        except Exception as error:  # whatever one request did, its neighbours get their answers
            if len(jobs) == 1:
                self._loop.call_soon_threadsafe(_fail, jobs[0].future, error)
                return
            logger.warning("a batch of %d failed (%s): running its halves", len(jobs), type(error).__name__)
            middle = len(jobs) // 2
            self._answer(key, jobs[:middle])
            self._answer(key, jobs[middle:])
        else:
            # One call a batch, for each wakes the loop up.
            self._loop.call_soon_threadsafe(_settle, [job.future for job in jobs], results)


def _settle(futures: Sequence[asyncio.Future[ResultT]], results: Sequence[ResultT]) -> None:
    for future, result in zip(futures, results, strict=True):
        if not future.done():
            future.set_result(result)


def _fail(future: asyncio.Future[ResultT], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
