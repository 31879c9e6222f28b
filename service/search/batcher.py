"""Dynamic batching: threads that search the waiting requests in batches.

A free thread takes the waiting requests at once. So the next batch gathers while one batch runs, and a request that is
alone never waits. There is no timer: batches grow with the load. `service.admission.admission` limits how many requests
can wait.

A backlog means that the queue is at least a third full and holds at least two batches. Then throughput matters more
than latency: batches are twice as large, and a spare thread searches too. The spare thread computes while another
thread waits for the GIL, the lock of Python. Without a backlog the spare thread would only split large batches into
small ones.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from rqrec.service.errors import NotReady
from rqrec.service.search.fair_queue import ClientQueue, Turn
from rqrec.service.telemetry import Metrics

KeyT = TypeVar("KeyT", bound=Hashable)
WorkT = TypeVar("WorkT")
ResultT = TypeVar("ResultT")
BACKLOG_SHARE = 1 / 3  # of the queue
BACKLOG_BATCHES = 2  # size of a batch in a backlog, in normal batches
RATE_MEMORY = 0.9  # weight of the past in the running mean of seconds a job
FIRST_GUESS_S = 0.001  # seconds a weight of 1, before the first search
RESTART_PAUSE_S = 0.5
logger = logging.getLogger("rqrec")


class _Job(Generic[WorkT, ResultT]):
    """One request in the queue, and the future of its result, which belongs to the event loop."""

    __slots__ = ("future", "is_running", "queued_at", "weight", "work")

    def __init__(self, work: WorkT, weight: int, future: "asyncio.Future[ResultT]") -> None:
        self.work = work
        self.weight = weight
        self.future = future
        self.is_running = False  # it has left the queue while its caller waited
        self.queued_at = time.perf_counter()


class Batcher(Generic[KeyT, WorkT, ResultT]):
    """Queues work, and runs it in batches in threads of its own. All work of a batch has the same key.

    Each piece of work has a weight, which says what it costs. There is a backlog when the queue is at least a third
    full and holds at least two batches. Then one more thread runs, and batches are twice as large.

    Args:
        run: Function that runs a batch: gets the key and the work, returns the results in the same order. Called in a
            thread.
        metrics: Measures the queue and the batches, and counts dropped work.
        workers: Number of batches that run at the same time; one more in a backlog.
        max_batch: Largest total weight of a batch, twice as much in a backlog. A piece of work that is heavier than
            this runs alone.
        max_queue: Number of pieces of work with which the queue counts as full. Says when a backlog begins; the batcher
            itself refuses nothing.
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
        self._begun = self._ended = 0  # weight of all work so far; two counts, because two threads write them
        self._queue: ClientQueue[KeyT, _Job[WorkT, ResultT]] = ClientQueue(lambda job: job.weight)
        self._workers = workers
        self._backlog = max(int(max_queue * BACKLOG_SHARE), BACKLOG_BATCHES * max_batch)
        lock = threading.Lock()
        self._changed, self._grown = threading.Condition(lock), threading.Condition(lock)  # notified in a backlog
        self._able = 0
        self._draining = False
        self._seconds_a_weight = FIRST_GUESS_S
        self._loop: asyncio.AbstractEventLoop
        self._threads = [
            threading.Thread(
                target=self._work_on, args=(number == workers,), name=f"rqrec-search-{number}", daemon=True
            )
            for number in range(workers + 1)
        ]
        metrics.queue_depth.set_function(lambda: len(self._queue))

    def start(self) -> None:
        """Starts the batcher's threads. Must be called on the event loop that will call `Batcher.submit`."""
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """The number of pieces of work in the batcher's queue. Each piece of work is one request."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """The total weight of the running work: it has left the batcher's queue, and its callers have no results yet.

        Work runs until its caller on the event loop has got the result or is cancelled, because admission then takes
        back the caller's permits. It is not enough that a thread has computed the result.
        Admission limits the number of requests in the service that are not running. If work ended when a thread has
        computed its result, admission would refuse requests whenever the event loop is slow to deliver results.
        """
        return self._begun - self._ended

    @property
    def is_working(self) -> bool:
        """Whether at least one thread of this batcher takes work. The spare thread for a backlog does not count.

        False before `Batcher.start` and after `Batcher.stop`. Also False while all of these threads pause after a
        crash.
        """
        return self._able > 0

    @property
    def seconds_per_request(self) -> float:
        """The mean search time of a request of weight 1 in recent batches, in seconds, by the number of workers.

        So waiting requests of a total weight n will take about n times this time.
        """
        return self._seconds_a_weight / self._workers

    async def submit(self, key: KeyT, work: WorkT, *, client: str = "", weight: int = 1) -> ResultT:
        """Queues work and waits for its result. If the caller is cancelled before the work starts, drops the work.

        Args:
            key: Batch key: only work with equal keys runs in the same batch.
            work: The work.
            client: Name of the client. Each client gets an equal share of the time of the threads.
            weight: Weight of the work: what it costs, at least 1.

        Returns:
            The result of the work.

        Raises:
            NotReady: If the batcher was stopped before this call.
            RuntimeError: If the thread that ran the work crashed.
            Exception: Any error that the function `run` raises for this work.
        """
        job: _Job[WorkT, ResultT] = _Job(work, weight, self._loop.create_future())
        with self._changed:
            if self._draining:
                raise NotReady("the service is shutting down")
            self._queue.push(client, key, job)
            self._changed.notify()
            if self._has_backlog:
                self._grown.notify()
        try:
            return await job.future
        finally:
            self._end(job)

    def stop(self) -> None:
        """Stops the batcher: refuses new work, runs all queued work, and waits until its threads have ended."""
        with self._changed:
            self._draining = True
            self._changed.notify_all()
            self._grown.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    @property
    def _has_backlog(self) -> bool:
        return len(self._queue) >= self._backlog

    def _work_on(self, is_spare: bool) -> None:
        """The body of a thread: runs batches until `stop`, and restarts after a crash."""
        able = 0 if is_spare else 1
        while True:
            self._count_able(able)
            try:
                self._work(is_spare)
            except BaseException:  # of any type: without this thread the service could not answer
                logger.exception("the search thread crashed: it restarts in %.1f s", RESTART_PAUSE_S)
                self._metrics.search_crashes.inc()
            else:
                return
            finally:
                self._count_able(-able)
            time.sleep(RESTART_PAUSE_S)

    def _count_able(self, change: int) -> None:
        with self._changed:
            self._able += change

    def _take(self, is_spare: bool) -> Turn[KeyT, _Job[WorkT, ResultT]] | None:
        """Waits for the next batch. Returns None after `stop`, when the queue is empty."""
        with self._changed:
            while True:
                limit = BACKLOG_BATCHES * self._max_batch if self._has_backlog else self._max_batch
                may_take = self._has_backlog or not is_spare
                if may_take and (turn := self._queue.pop(limit)) is not None:
                    for job in turn.jobs:
                        job.is_running = not job.future.done()
                        self._begun += job.weight * job.is_running
                    return turn
                if self._draining:
                    return None
                (self._grown if is_spare else self._changed).wait()

    def _work(self, is_spare: bool) -> None:
        """Runs batches until `stop`."""
        while (turn := self._take(is_spare)) is not None:
            begin = time.perf_counter()
            # A future that is done was cancelled, because its client has gone or its deadline has passed.
            wanted = [job for job in turn.jobs if not job.future.done()]
            outcomes: Sequence[ResultT | Exception] = ()
            try:
                self._observe(wanted, begin, dropped=len(turn.jobs) - len(wanted))
                outcomes = self._search(turn.key, wanted) if wanted else ()
            except BaseException as error:
                outcomes = [RuntimeError(f"the search crashed: {error!r}")] * len(wanted)
                raise
            finally:
                # One call for the whole batch, because each call wakes the event loop.
                self._loop.call_soon_threadsafe(self._settle, wanted, outcomes)
                with self._changed:
                    self._queue.charge(turn, time.perf_counter() - begin)
            if wanted:
                self._note_time(time.perf_counter() - begin, sum(job.weight for job in wanted))

    def _search(self, key: KeyT, jobs: Sequence[_Job[WorkT, ResultT]]) -> Sequence[ResultT | Exception]:
        """Runs a batch. After an error it runs the halves, so that only the request that caused it fails."""
        try:
            return self._run(key, [job.work for job in jobs])
        except Exception as error:  # of any type: the other requests of the batch still get answers
            if len(jobs) == 1:
                return [error]
            logger.warning("a batch of %d requests failed (%s): running its halves", len(jobs), type(error).__name__)
            middle = len(jobs) // 2
            return [*self._search(key, jobs[:middle]), *self._search(key, jobs[middle:])]

    def _observe(self, jobs: Sequence[_Job[WorkT, ResultT]], begin: float, *, dropped: int) -> None:
        if dropped:
            self._metrics.shed.labels("abandoned").inc(dropped)
        if jobs:
            self._metrics.batch_size.observe(len(jobs))
        for job in jobs:
            self._metrics.queue_seconds.observe(begin - job.queued_at)

    def _note_time(self, seconds: float, weight: int) -> None:
        self._metrics.search_seconds.observe(seconds)
        self._seconds_a_weight += (1 - RATE_MEMORY) * (seconds / weight - self._seconds_a_weight)

    def _settle(self, jobs: Sequence[_Job[WorkT, ResultT]], outcomes: Sequence[ResultT | Exception]) -> None:
        """Gives the callers their results. Runs on the event loop."""
        for job, outcome in zip(jobs, outcomes, strict=True):
            if job.future.done():
                continue
            if isinstance(outcome, Exception):
                job.future.set_exception(outcome)
            else:
                job.future.set_result(outcome)

    def _end(self, job: _Job[WorkT, ResultT]) -> None:
        with self._changed:  # not between the question whether the job is done and its answer
            self._ended += job.weight * job.is_running
