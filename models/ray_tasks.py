"""Runs tasks by Ray Data, in actors of a Ray cluster. It needs the package ray, the extra `ray`.

A row of Ray's data set is a task, which names what to read and to write. So a task that Ray runs again, after it has
lost a node, must write the same as before.
"""

import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import ray
import ray.data
from numpy.typing import NDArray

from rqrec.models.errors import UserError

TASK, RESULT = "task", "result"  # columns with pickled objects
TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")
Rows = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Actors:
    """The actors that run tasks.

    Attributes:
        count: The number of actors at the start, at least 1. If a node is lost, the others go on.
        cores: The number of cores of each actor.
        gpus: The number of GPUs of each actor.
    """

    count: int
    cores: int
    gpus: int


def run_in_actors(
    open_worker: Callable[[], Callable[[TaskT], ResultT]], tasks: Sequence[TaskT], actors: Actors
) -> Iterator[ResultT]:
    """Runs tasks, and yields the result of each as soon as it is there, in any order. Needs an open `ray_cluster`.

    Args:
        open_worker: Returns the function that runs a task. Each actor calls it once.
        tasks: The tasks.
        actors: The actors.

    Raises:
        UserError: If a task raised it.
    """
    if not tasks:
        return
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rows = ray.data.from_items([{TASK: pickle.dumps(task)} for task in tasks], override_num_blocks=len(tasks))
    results = rows.map_batches(
        _Actor,
        fn_constructor_args=(open_worker,),
        batch_size=1,
        # all actors start at once; fewer go on if a node is lost
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors.count, initial_size=actors.count),
        num_cpus=actors.cores,
        num_gpus=actors.gpus,
    )
    with user_errors():
        for row in results.iter_rows():
            yield pickle.loads(row[RESULT])  # noqa: S301 - from this cluster, to which Ray sends functions this way


@contextmanager
def user_errors() -> Iterator[None]:
    """Raises the errors that a user can repair as they were raised in the cluster.

    Raises:
        UserError: If the block raises an error of Ray whose cause is this one.
    """
    try:
        yield
    except ray.exceptions.RayError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(getattr(cause, "cause", cause), UserError):
            cause = cause.__cause__
        if cause is None:
            raise
        raise getattr(cause, "cause", cause) from None


class _Actor:
    """Runs the tasks that Ray gives to one actor."""

    def __init__(self, open_worker: Callable[[], Callable[[Any], Any]]) -> None:
        self._work = open_worker()

    def __call__(self, rows: Rows) -> Rows:
        tasks = map(pickle.loads, rows[TASK])
        return {RESULT: np.array([pickle.dumps(self._work(task)) for task in tasks], dtype=np.object_)}
