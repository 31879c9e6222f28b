"""Runs tasks by Ray Data, in actors of a Ray cluster. It needs the package ray, the extra `ray`.

A row of Ray's data set is a task, which names what to read and to write. So a task that Ray runs again, after it has
lost a node, must write the same as before.
"""

import logging
import pickle
from collections.abc import Callable, Iterator, Sequence
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
        open_worker: Returns the function that runs a task. Each actor calls it at its first task.
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
    for row in results.iter_rows():
        result, error = pickle.loads(row[RESULT])  # noqa: S301 - from this cluster, to which Ray sends functions this way
        if error is not None:
            raise error
        yield result


class _Actor:
    """Runs the tasks that Ray gives to one actor. An error for users is a result, because Ray loses its type."""

    def __init__(self, open_worker: Callable[[], Callable[[Any], Any]]) -> None:
        self._open_worker = open_worker
        self._work: Callable[[Any], Any] | None = None

    def __call__(self, rows: Rows) -> Rows:
        return {RESULT: np.array([pickle.dumps(self._done(task)) for task in rows[TASK]], dtype=np.object_)}

    def _done(self, task: bytes) -> tuple[Any, UserError | None]:
        try:
            work = self._work = self._work or self._open_worker()
            return work(pickle.loads(task)), None  # noqa: S301 - from the process that started this actor
        except UserError as error:
            return None, error
