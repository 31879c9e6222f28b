"""Makes slices in processes of this machine, each with one core."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from rqrec.models.errors import UserError
from rqrec.service.bulk.figures import Figures
from rqrec.service.bulk.part_maker import Job, part_maker
from rqrec.service.bulk.source import Slice

# Each process has one core: threads of libraries would take it from the others.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}


class LostWorker(UserError):
    """Raised when a process of the pool has ended unexpectedly."""


class LocalPool:
    """Processes of this machine. Each loads the model once.

    Args:
        job: What all slices have in common.
        executor: The processes.
    """

    def __init__(self, job: Job, executor: ProcessPoolExecutor) -> None:
        self._job, self._executor = job, executor

    def check(self) -> None:
        """Checks in one of the processes that the bundle can be served, and that the request fits it.

        Raises:
            BundleError: If the bundle cannot be served.
            InvalidRequest: If the request does not fit the catalogue.
        """
        with _losses_told():
            self._executor.submit(_check, self._job).result()

    def make(self, slices: Sequence[Slice]) -> Iterator[Figures]:
        """Makes slices, and yields the counts of each as soon as it is written, in any order.

        Args:
            slices: The slices.

        Raises:
            LostWorker: If a process is killed.
        """
        with _losses_told():
            for future in as_completed([self._executor.submit(_make, self._job, one) for one in slices]):
                yield future.result()


@contextmanager
def local_pool(job: Job, workers: int) -> Iterator[LocalPool]:
    """Starts processes, and ends them at the end of the block, at once if the block raises an error.

    Args:
        job: What all slices have in common.
        workers: The number of processes.
    """
    os.environ.update(ONE_THREAD)  # for the processes that start below; this one has read it already
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, context, initializer=_begin)
    try:
        yield LocalPool(job, executor)
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    executor.shutdown()


@contextmanager
def _losses_told() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise LostWorker(
            "a worker process has ended unexpectedly; the system may have killed it for its memory: run the same "
            "command again, which goes on, with fewer --workers if memory is short"
        ) from error


def _begin() -> None:
    """Prepares a process of the pool: it ends with its parent, which alone reacts to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _check(job: Job) -> None:
    part_maker(job)


def _make(job: Job, slice_: Slice) -> Figures:
    return part_maker(job).make(slice_)
