"""Commands in forks of one process that has imported training: each saves the four seconds that the imports take.

The tests of `packaging` start commands as a user does.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess

from rqrec.cli import main

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["rqrec.training.cli", "rqrec.training.pipeline"])


@dataclass(frozen=True)
class Fork:
    """A function that runs in a process of its own.

    Attributes:
        process: The process; its exit code is negative if a signal ended it, as that of `subprocess`.
        output: The file that takes its standard output.
        errors: The file that takes its standard error.
    """

    process: BaseProcess
    output: Path
    errors: Path

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def finish(self, timeout_s: float = 240) -> "CompletedProcess[str]":
        """Waits for the process to end."""
        self.process.join(timeout_s)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
        written = self.output.read_text(), self.errors.read_text()
        assert code is not None, written
        return CompletedProcess(self.process.name, code, *written)


def start(
    function: Callable[..., object], *arguments: object, folder: Path, environment: Mapping[str, str] | None = None
) -> Fork:
    """Starts a function in a fork.

    Args:
        function: A function of a module that tests can import.
        *arguments: What it is called with.
        folder: Where the files of its output are put.
        environment: Variables besides those of the tests.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = len(list(folder.glob("*.out")))
    output, errors = folder / f"{number}.out", folder / f"{number}.err"
    for file in (output, errors):
        file.touch()
    variables = {**os.environ, **(environment or {})}
    # A daemon, so that none outlives the tests.
    process = FORKS.Process(target=_run, args=(function, arguments, output, errors, variables), daemon=True)
    process.start()
    return Fork(process, output, errors)


def start_command(*words: str, folder: Path) -> Fork:
    """Starts `rqrec` with these words; the folder takes the files of its output."""
    return start(main, words, folder=folder)


def _run(
    function: Callable[..., object],
    arguments: tuple[object, ...],
    output: Path,
    errors: Path,
    variables: Mapping[str, str],
) -> None:
    for stream, file in ((sys.stdout, output), (sys.stderr, errors)):
        target = os.open(file, os.O_WRONLY | os.O_APPEND)
        os.dup2(target, stream.fileno())
        os.close(target)
    os.environ.clear()
    os.environ.update(variables)
    function(*arguments)
