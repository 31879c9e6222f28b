"""Computes arrays of many items in parts, by a loop or on Ray. An interrupted run leaves its parts to the next one.

A part is a file with the arrays of one task, such as the vectors of some texts. It is written under a hidden name,
flushed and renamed, so a part is whole or missing. The tasks do not depend on how many processes run them, so neither
do the arrays.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from rqrec.models.errors import NotWritten
from rqrec.models.files import UNFINISHED, make_folder, write_file
from rqrec.training.runtime.progress import progress

logger = logging.getLogger("rqrec")
SizedT = TypeVar("SizedT", bound=Sized)
TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")
Arrays = Mapping[str, NDArray[Any]]


class RunTasks(Protocol):
    """Runs tasks, in this process or in others."""

    def __call__(
        self, open_worker: Callable[[], Callable[[TaskT], ResultT]], tasks: Sequence[TaskT], *, uses_gpu: bool
    ) -> Iterator[ResultT]:
        """Yields the result of each task as soon as it is there, in any order.

        Args:
            open_worker: Returns the function that runs a task. Each process calls it once.
            tasks: The tasks.
            uses_gpu: Whether the function runs on a GPU if there is one.
        """


def run_here(
    open_worker: Callable[[], Callable[[TaskT], ResultT]],
    tasks: Sequence[TaskT],
    *,
    uses_gpu: bool,  # noqa: ARG001 - libraries take the GPU of this machine by themselves
) -> Iterator[ResultT]:
    """Runs tasks in this process, one after the other, and yields their results. See `RunTasks`.

    Args:
        open_worker: Returns the function that runs a task.
        tasks: The tasks.
        uses_gpu: Has no effect here.
    """
    if tasks:
        yield from map(open_worker(), tasks)


class _Part(NamedTuple, Generic[SizedT]):
    file: Path
    task: SizedT


@dataclass(frozen=True)
class Parts:
    """A folder of parts, and what makes them.

    Attributes:
        folder: The folder. It is for the same tasks each time.
        run_tasks: Runs tasks.
    """

    folder: Path
    run_tasks: RunTasks = run_here

    def arrays(
        self,
        name: str,
        open_worker: Callable[[], Callable[[SizedT], Arrays]],
        tasks: Sequence[SizedT],
        *,
        unit: str,
        uses_gpu: bool = False,
    ) -> dict[str, NDArray[Any]]:
        """Computes the arrays of each task that has no part yet, and joins those of all tasks along the first axis.

        Args:
            name: The name of the work in the progress, in a word or two.
            open_worker: Returns the function that computes the arrays of a task. Each process calls it once.
            tasks: The tasks, at least one. The length of a task is its number of items.
            unit: What the items are, in the plural, for the progress.
            uses_gpu: Whether the function runs on a GPU if there is one.

        Raises:
            NotWritten: If a part cannot be written. The parts before it stay.
        """
        make_folder(self.folder)
        for left in self.folder.glob(f"{UNFINISHED}*"):
            left.unlink()
        parts = [_Part(self.folder / f"part-{number:05d}.safetensors", task) for number, task in enumerate(tasks)]
        missing = [part for part in parts if not _is_whole(part.file)]
        total, open_items = (sum(len(part.task) for part in some) for some in (parts, missing))
        done = total - open_items
        with progress(name, total=total, done=done, unit=unit) as task:
            for num_items in self.run_tasks(partial(_open_writer, open_worker), missing, uses_gpu=uses_gpu):
                done += num_items
                task.show(done=done)  # not `advance`: the worker may have counted within the part
        made = [load_file(part.file) for part in parts]
        return {name: np.concatenate([arrays[name] for arrays in made]) for name in made[0]}


def _is_whole(file: Path) -> bool:
    """Whether a part is there. Removes one that a damaged disk or file system has cut off."""
    if not file.exists():
        return False
    try:
        with safe_open(file, framework="np"):
            return True
    except SafetensorError as error:
        logger.warning("%s is damaged (%s): computing it again", file, error)
        file.unlink()
        return False


def _open_writer(open_worker: Callable[[], Callable[[SizedT], Arrays]]) -> Callable[[_Part[SizedT]], int]:
    compute = open_worker()

    def write(part: _Part[SizedT]) -> int:
        arrays = dict(compute(part.task))
        try:
            write_file(part.file, lambda unfinished: save_file(arrays, unfinished))
        except (OSError, SafetensorError) as error:
            raise NotWritten.because(error, part.file) from error
        return len(part.task)

    return write
