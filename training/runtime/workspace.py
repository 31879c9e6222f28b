"""A workspace: the folder below which stages keep what they made, and redo it only when what it came from changed."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rqrec.models.errors import UserError
from rqrec.models.files import make_folder, new_directory
from rqrec.training.runtime.distributed import barrier, broadcast, rank

STAMP = "stage.json"
KEY_LENGTH = 16
KEPT_KEYS = 3


class WorkspaceBusy(UserError):
    """Raised when another run works in the same folder; says which."""


@dataclass(frozen=True)
class Stage:
    """A finished stage: its folder, and a key that changes with everything that it was made from."""

    path: Path
    key: str

    @property
    def seconds(self) -> float:
        """How long its last run took; after an interruption, from where that went on."""
        return float(json.loads((self.path / STAMP).read_text(encoding="utf-8"))["seconds"])

    @property
    def stands(self) -> bool:
        """Whether its folder holds the result of this key."""
        try:
            stamp = json.loads((self.path / STAMP).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return False
        return isinstance(stamp, dict) and stamp.get("key") == self.key


@dataclass(frozen=True)
class Workspace:
    """The folder of one data set and one configuration, which one run at a time works in; see `open_workspace`.

    Attributes:
        root: Holds a folder for every stage.
        data_dir: Where raw public data is kept, shared between workspaces.
        resume: Whether training goes on from a checkpoint that was made from the same inputs.
    """

    root: Path
    data_dir: Path
    resume: bool = True

    @property
    def tensorboard(self) -> Path:
        """Where the figures of every training go."""
        return self.root / "tensorboard"

    def run(
        self,
        name: str,
        *,
        inputs: Sequence[Stage],
        settings: Any,
        write: Callable[[Path], None],
        version: int = 1,
    ) -> Stage:
        """Runs a stage, unless its folder already holds the result of the same inputs and settings.

        Of several processes the first one alone runs it.

        Args:
            name: The stage's folder below the root.
            inputs: The stages whose results it reads.
            settings: Its settings, a dataclass.
            write: Fills a fresh folder with the result; the folder is renamed into place when it returns.
            version: To be raised when the stage's code gives other results for the same inputs.
        """
        stage = self._stage(name, inputs, settings, version)
        if not broadcast(stage.stands):
            if rank() == 0:
                self._write(stage, inputs, settings, write)
            barrier()
        return stage

    def train(
        self,
        name: str,
        *,
        inputs: Sequence[Stage],
        settings: Any,
        write: Callable[[Path, Path], None],
        version: int = 1,
    ) -> Stage:
        """Runs a stage that trains: every process (`distributed.py`) takes part, and it leaves checkpoints.

        Args:
            name: The stage's folder below the root.
            inputs: The stages whose results it reads.
            settings: Its settings, a dataclass.
            write: Given a fresh folder and the checkpoints' folder, trains and fills the first with the result. What
                the first process wrote is kept.
            version: To be raised when the stage's code gives other results for the same inputs.
        """
        stage = self._stage(name, inputs, settings, version)
        if broadcast(stage.stands):
            return stage
        checkpoints = self.checkpoints(name, stage.key)
        if rank() == 0:
            self._write(stage, inputs, settings, lambda directory: write(directory, checkpoints))
            shutil.rmtree(checkpoints, ignore_errors=True)
            with suppress(OSError):  # other keys have checkpoints, or there never was one
                checkpoints.parent.rmdir()
        else:
            with tempfile.TemporaryDirectory() as unwanted:
                write(Path(unwanted), checkpoints)
        barrier()
        return stage

    def checkpoints(self, name: str, key: str) -> Path:
        """Where an unfinished training keeps its checkpoints until it has finished.

        Those of the `KEPT_KEYS` latest keys are kept, this one included, so that an interrupted training can go on
        after another one with other settings. The workspace's own are removed first if it does not resume.
        """
        own = self.root / f"{name}-checkpoints" / key
        if rank() == 0 and own.parent.is_dir():
            if not self.resume:
                shutil.rmtree(own, ignore_errors=True)
            others = [folder for folder in own.parent.iterdir() if folder != own]
            latest_last = sorted(others, key=lambda folder: folder.stat().st_mtime_ns)
            for old in latest_last[: max(len(others) - (KEPT_KEYS - 1), 0)]:
                shutil.rmtree(old)
        barrier()
        return own

    def _stage(self, name: str, inputs: Sequence[Stage], settings: Any, version: int) -> Stage:
        return Stage(self.root / name, broadcast(stage_key(inputs, settings, version)))

    def _write(self, stage: Stage, inputs: Sequence[Stage], settings: Any, write: Callable[[Path], None]) -> None:
        begin = time.perf_counter()
        with new_directory(stage.path) as directory:
            write(directory)
            seconds = round(time.perf_counter() - begin, 1)
            inputs_of = [one.key for one in inputs]
            description = {"key": stage.key, "settings": asdict(settings), "inputs": inputs_of, "seconds": seconds}
            (directory / STAMP).write_text(json.dumps(description, indent=2), encoding="utf-8")


@contextmanager
def open_workspace(root: Path, data_dir: Path, *, resume: bool = True) -> Iterator[Workspace]:
    """Yields a workspace that no other run can open meanwhile; however the run ends, the next one can.

    Args:
        root: See `Workspace`.
        data_dir: See `Workspace`.
        resume: See `Workspace`.

    Raises:
        WorkspaceBusy: If another run has opened it.
    """
    make_folder(root)
    handle = os.open(root, os.O_RDONLY)
    try:
        if broadcast(rank() == 0 and not _lock(handle)):
            raise WorkspaceBusy(
                f"another run is working in {root}: wait until it has ended, or give this one a folder of its own "
                "(--work-dir)"
            )
        yield Workspace(root, data_dir, resume)
    finally:
        os.close(handle)  # which unlocks it; so does the end of the process


def stage_key(inputs: Sequence[Stage], settings: Any, version: int = 1) -> str:
    """The key of a stage with these inputs and settings."""
    parts = {"inputs": [stage.key for stage in inputs], "settings": asdict(settings), "version": version}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:KEY_LENGTH]


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
