"""Shows the progress of a run: in a terminal by a bar for every stage, else by a log line every 20 seconds.

Tasks are nested: a stage may contain a training, and a training a validation. The innermost task is shown. A thread
tells the lines, so they come also while a library computes for minutes.
"""

import logging
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from rqrec.training.runtime.distributed import rank

LINE_EVERY_S = 20.0
MIN_SHARE_TO_ESTIMATE = 0.01  # of a task; before, the time left is not told
logger = logging.getLogger("rqrec")


@dataclass(eq=False)
class Task:
    """A piece of work whose progress is shown.

    Attributes:
        name: Name of the work, in a word or two.
        total: Total number of units, such as steps; None if it is not known.
        unit: The unit in the plural, such as "steps".
        done: Number of units done.
        first: Number of units that were done before this run, for example before a training was resumed.
        figures: Values to show beside the number of units, by name, such as {"loss": "0.42"}.
        begin_s: When the task began, in seconds of `time.monotonic`.
    """

    name: str
    total: int | None
    unit: str
    done: int
    first: int
    figures: dict[str, str] = field(default_factory=dict)
    begin_s: float = field(default_factory=time.monotonic)

    @property
    def has_named_steps(self) -> bool:
        """Whether this task's units are steps to which `Task.next_step` gives names.

        Such steps take different times, so the time left cannot be estimated.
        """
        return "now" in self.figures

    def advance(self, units: int = 1) -> None:
        """Adds `units` to this task's number of units done, and updates the display."""
        self.show(done=self.done + units)

    def next_step(self, now: str) -> None:
        """Shows the name of this task's step that begins now, and counts the step before it, if any, as done.

        Args:
            now: Name of the new step, in a few words.
        """
        self.show(done=self.done + 1 if self.has_named_steps else self.done, now=now)

    def show(self, *, done: int | None = None, **figures: str) -> None:
        """Sets this task's number of units done, or values to show beside it, and updates the display.

        Args:
            done: Number of units done; None to leave it unchanged.
            figures: Values to show, by name, such as loss="0.42". Values that were set earlier under other names are
                still shown.
        """
        if done is not None:
            self.done = done if self.total is None else min(done, self.total)
        self.figures |= figures
        _told.refresh()

    def __str__(self) -> str:
        """The position, the share done, the figures and the time left. Named steps have no share, nor a time left."""
        position = [] if self.total is None else [f"{self.done:,} of {self.total:,} {self.unit}"]
        if position and self.total and not self.has_named_steps:
            position[0] += f" ({100 * self.done // self.total} %)"
        figures = [f"{name} {value}".strip() for name, value in self.figures.items() if value]
        left_s = self.seconds_left()
        left = [] if left_s is None else [f"about {duration(left_s)} left"]
        return ", ".join([*position, *figures, *left])

    def seconds_left(self) -> float | None:
        """Returns the estimated time until this task ends, in seconds; None if it cannot be estimated (yet)."""
        own = self.done - self.first
        if self.total is None or own <= 0 or own < MIN_SHARE_TO_ESTIMATE * self.total or self.has_named_steps:
            return None
        return (time.monotonic() - self.begin_s) / own * (self.total - self.done)


def advance_innermost(units: int) -> None:
    """Adds units to the innermost task of this process, for work that its owner counts only when all is done.

    Nothing happens if no task is running here, as in a worker of Ray.

    Args:
        units: Number of units that were done.
    """
    _told.advance(units)


def duration(seconds: float) -> str:
    """Returns a duration as text for people, such as "40 s", "12 min" or "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def progress(name: str, *, total: int | None = None, done: int = 0, unit: str = "steps") -> Iterator[Task]:
    """Shows the progress of a task until the `with` block ends, and yields the task. Only rank 0 shows anything.

    Args:
        name: Name of the work, in a word or two. The outermost task is a stage.
        total: Total number of units, such as steps; None if it is not known.
        done: Number of units that were done before this run.
        unit: The unit in the plural, such as "steps".
    """
    task = Task(name, total, unit, done, done)
    if rank() > 0:
        yield task
        return
    _told.enter(task)
    try:
        yield task
    finally:
        _told.leave(task)


@contextmanager
def command_progress(name: str) -> Iterator[None]:
    """Without a terminal, tells lines until the `with` block ends, also between stages. Only rank 0 tells anything.

    Args:
        name: Name of the command, which is told while no task is running.
    """
    if rank() > 0 or has_terminal():
        yield
        return
    _told.enter_command(name)
    try:
        yield
    finally:
        _told.leave_command()


def set_up_output() -> None:
    """Sends log messages of a run to standard error."""
    logging.basicConfig(format="%(message)s", handlers=[_ToStandardError()])
    logging.getLogger("rqrec").setLevel(logging.INFO)


class _ToStandardError(logging.Handler):
    """Writes to what is standard error now: while a bar is drawn, lines must appear above it."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


def has_terminal() -> bool:
    """Returns whether standard error is a terminal that can move its cursor."""
    return not Console(file=sys.stderr).is_dumb_terminal and sys.stderr.isatty()


class _Told:
    """The tasks that are running, and the bar or the thread that tells them."""

    def __init__(self) -> None:
        self._tasks: list[Task] = []
        self._command: Task | None = None  # without steps: its name and when it began
        self._bars: Bars | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def enter_command(self, name: str) -> None:
        self._command = Task(name, None, "", 0, 0)
        self._start_lines()

    def leave_command(self) -> None:
        self._command = None
        self._stop_lines()

    def enter(self, task: Task) -> None:
        self._tasks.append(task)
        if len(self._tasks) == 1:
            self._start()
        self.refresh()

    def leave(self, task: Task) -> None:
        if task not in self._tasks:
            return  # a generator that ends after the task around it, because of an error
        del self._tasks[self._tasks.index(task) :]
        if self._tasks:
            self.refresh()
        elif self._bars is not None:
            self._bars.update(self._bars.task_ids[0], total=1, completed=1)
            self._bars.stop()
            self._bars = None
        elif self._command is None:
            self._stop_lines()

    def advance(self, units: int) -> None:
        if self._tasks:
            self._tasks[-1].advance(units)

    def refresh(self) -> None:
        """Moves the bar, if there is one, to the innermost task. The last figures of a task stay beside the bar."""
        if self._bars is None or not self._tasks:
            return
        task, bar = self._tasks[-1], self._bars.task_ids[0]
        self._bars.update(bar, total=task.total, completed=task.done)
        if text := ": ".join(filter(None, [*_names(self._tasks)[1:], str(task)])):
            self._bars.update(bar, text=text)

    def _start(self) -> None:
        if has_terminal():
            columns = (TextColumn("{task.description:>12}"), BarColumn(), TextColumn("{task.fields[text]}"))
            self._bars = Bars(*columns, TimeElapsedColumn(), console=Console(stderr=True))
            self._bars.add_task(self._tasks[0].name, text="")
            self._bars.start()
        else:
            self._start_lines()

    def _start_lines(self) -> None:
        if self._thread is None and logger.isEnabledFor(logging.INFO):
            self._ended = threading.Event()
            self._thread = threading.Thread(target=self._tell_lines, args=(self._ended,), daemon=True)
            self._thread.start()

    def _stop_lines(self) -> None:
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._thread = None

    def _tell_lines(self, ended: threading.Event) -> None:
        """Logs a line every LINE_EVERY_S seconds, whatever the main thread does."""
        while not ended.wait(LINE_EVERY_S):
            if tasks := list(self._tasks) or list(filter(None, [self._command])):
                since = f"running for {duration(time.monotonic() - tasks[0].begin_s)}"
                logger.info("%s: %s", ": ".join(_names(tasks)), ", ".join(filter(None, [str(tasks[-1]), since])))


def _names(tasks: Sequence[Task]) -> list[str]:
    """The names of tasks, outermost first. A training has the name of its stage, which is told once."""
    return list(dict.fromkeys(task.name for task in tasks))


_told = _Told()
