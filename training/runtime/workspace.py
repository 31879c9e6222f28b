"""A workspace: the folder that stores the results of all stages.

A stage runs only if the workspace has no result of it for the same inputs and settings.
"""

import hashlib
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rqrec.models.files import new_directory
from rqrec.training.runtime.curves import keep_curves
from rqrec.training.runtime.distributed import barrier, broadcast, rank
from rqrec.training.runtime.progress import duration, progress
from rqrec.training.runtime.workspace_lock import locked

STAMP = "stage.json"
KEY_LENGTH = 16
logger = logging.getLogger("rqrec")
KEPT_KEYS = 3


class StageElsewhere(Exception):
    """Raised when a stage must run that this process must not run, because others do. The message is its name."""


@dataclass(frozen=True)
class Stage:
    """One stage of a run: the folder of its result, and a key that is stored with the result.

    If the stored key differs from this one, the result was computed for other inputs or settings, and the stage must
    run again.

    Attributes:
        path: The folder of the stage's result.
        key: A hash of the stage's settings, of its code version and of the keys of its input stages.
    """

    path: Path
    key: str

    @property
    def seconds(self) -> float:
        """How many seconds the run took that stored this stage's result.

        If it resumed an interrupted training, only the time since then counts.
        """
        return float(json.loads((self.path / STAMP).read_text(encoding="utf-8"))["seconds"])

    @property
    def finished_at_s(self) -> float:
        """When the run ended that stored this stage's result, in seconds since 1970."""
        return (self.path / STAMP).stat().st_mtime

    @property
    def is_current(self) -> bool:
        """Whether the folder `Stage.path` holds a result that was stored with the key `Stage.key`.

        If so, this stage need not run again.
        """
        try:
            stamp = json.loads((self.path / STAMP).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return False
        return isinstance(stamp, dict) and stamp.get("key") == self.key


def run_all(_stage: str) -> bool:
    """Lets a process run every stage; see `Workspace.may_run`."""
    return True


@dataclass(frozen=True)
class Workspace:
    """The folder in which a run stores the results of its stages. Only one run at a time may use it.

    `open_workspace` opens and locks it.

    Attributes:
        root: The folder of the workspace. It holds one folder for every stage.
        data_dir: The folder of downloaded data sets, which several workspaces may share.
        resume: Whether an interrupted stage resumes from its checkpoint or parts, if its inputs and settings are the
            same.
        may_run: Whether this process may run a stage, by its name. If not, others run it.
        tells_current: Whether a line is logged for every stage that need not run.
    """

    root: Path
    data_dir: Path
    resume: bool = True
    may_run: Callable[[str], bool] = run_all
    tells_current: bool = True

    @property
    def tensorboard(self) -> Path:
        """The folder of this workspace's TensorBoard files. It holds one folder for every training."""
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

        It runs in rank 0 (the first training process) alone; the other ranks wait.

        Args:
            name: Name of the stage, and of its folder below `root`.
            inputs: The stages whose results this stage reads.
            settings: The settings of this stage, a dataclass.
            write: Computes the result and writes it to the folder that it is given. The folder gets its final name when
                `write` returns, so that an interrupted stage leaves no incomplete result.
            version: The version of the stage's code. Raise it when the code gives other results for the same inputs.

        Returns:
            The stage, with its result in `Stage.path`.
        """
        return self._run(name, inputs, settings, version, lambda directory, _: write(directory))

    def run_in_parts(
        self,
        name: str,
        *,
        inputs: Sequence[Stage],
        settings: Any,
        write: Callable[[Path, Path], None],
        version: int = 1,
    ) -> Stage:
        """Runs a stage as `run` does, and keeps the parts of an interrupted one, with which the next run goes on.

        Args:
            name: Name of the stage, and of its folder below `root`.
            inputs: The stages whose results this stage reads.
            settings: The settings of this stage, a dataclass.
            write: Computes the result and writes it. It is given the folder of the result and the folder of the parts,
                which may not exist yet; see `training.runtime.parts`.
            version: The version of the stage's code. Raise it when the code gives other results for the same inputs.

        Returns:
            The stage, with its result in `Stage.path`.
        """
        return self._run(name, inputs, settings, version, write)

    def train(
        self,
        name: str,
        *,
        inputs: Sequence[Stage],
        settings: Any,
        write: Callable[[Path, Path], None],
        version: int = 1,
    ) -> Stage:
        """Runs a training stage, unless its folder already holds the result of the same inputs and settings.

        It runs in every rank (training process). An interrupted training leaves checkpoints, from which the next run
        resumes.

        Args:
            name: Name of the stage, and of its folder below `root`.
            inputs: The stages whose results this stage reads.
            settings: The settings of this stage, a dataclass.
            write: Trains, and writes the result. It is given the folder of the result and the folder of the
                checkpoints. Only the result of rank 0 is kept. If it trains under the stage's name, the curves of the
                training are kept too.
            version: The version of the stage's code. Raise it when the code gives other results for the same inputs.

        Returns:
            The stage, with its result in `Stage.path`.
        """

        def write_with_curves(directory: Path, checkpoints: Path) -> None:
            write(directory, checkpoints)
            if rank() == 0:
                keep_curves(self.tensorboard / name, directory)

        return self._run(name, inputs, settings, version, write_with_curves, in_all_ranks=True)

    def checkpoints(self, name: str, key: str) -> Path:
        """Returns the folder of an unfinished stage's checkpoints or parts, and removes old ones of the stage.

        Each key, which means each choice of inputs and settings, has a folder of its own. The folder of `key` is not
        removed, nor are the two latest folders of other keys. So an interrupted stage can resume even after a run
        with other settings. If `Workspace.resume` is false, the checkpoints of `key` are removed too.

        Args:
            name: Name of the stage.
            key: The key of the stage, `Stage.key`.
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

    def _run(
        self,
        name: str,
        inputs: Sequence[Stage],
        settings: Any,
        version: int,
        write: Callable[[Path, Path], None],
        *,
        in_all_ranks: bool = False,
    ) -> Stage:
        """Runs a stage if its result is not there, with the folder of what an interrupted run has left."""
        stage = Stage(self.root / name, broadcast(stage_key(inputs, settings, version)))
        if self._is_current(stage):
            return stage
        unfinished = self.checkpoints(name, stage.key)
        if rank() == 0:
            self._write(stage, inputs, settings, lambda directory: write(directory, unfinished))
            _remove_checkpoints(unfinished)
        elif in_all_ranks:
            with tempfile.TemporaryDirectory() as unwanted:
                write(Path(unwanted), unfinished)
        barrier()
        return stage

    def _is_current(self, stage: Stage) -> bool:
        """Returns in every rank whether the stage need not run. Raises StageElsewhere if others must run it."""
        is_current = broadcast(stage.is_current)
        if not (is_current or self.may_run(stage.path.name)):
            raise StageElsewhere(stage.path.name)
        if is_current and self.tells_current and rank() == 0:
            logger.info("%s: nothing to do, its result is up to date", stage.path.name)
        return is_current

    def _write(self, stage: Stage, inputs: Sequence[Stage], settings: Any, write: Callable[[Path], None]) -> None:
        logger.info("%s: started", stage.path.name)
        begin = time.perf_counter()
        with new_directory(stage.path) as directory, progress(stage.path.name):
            write(directory)
            seconds = round(time.perf_counter() - begin, 1)
            inputs_of = [one.key for one in inputs]
            description = {"key": stage.key, "settings": asdict(settings), "inputs": inputs_of, "seconds": seconds}
            (directory / STAMP).write_text(json.dumps(description, indent=2), encoding="utf-8")
        logger.info("%s: finished in %s", stage.path.name, duration(seconds))


def _remove_checkpoints(checkpoints: Path) -> None:
    shutil.rmtree(checkpoints, ignore_errors=True)
    with suppress(OSError):  # the folder holds checkpoints of other keys, or does not exist
        checkpoints.parent.rmdir()


@contextmanager
def open_workspace(
    root: Path,
    data_dir: Path,
    *,
    resume: bool = True,
    may_run: Callable[[str], bool] = run_all,
    tells_current: bool = True,
) -> Iterator[Workspace]:
    """Opens a workspace and locks it until the `with` block or the process ends. No other run can open it meanwhile.

    Args:
        root: The folder of the workspace, which is created if needed. It holds one folder for every stage.
        data_dir: The folder of downloaded data sets, which several workspaces may share.
        resume: Whether an interrupted stage resumes, if its inputs and settings are the same.
        may_run: Whether this process may run a stage, by its name. If not, others run it.
        tells_current: Whether a line is logged for every stage that need not run.

    Raises:
        WorkspaceBusy: If another run uses the workspace.
    """
    with locked(root):
        yield Workspace(root, data_dir, resume, may_run, tells_current)


def stage_key(inputs: Sequence[Stage], settings: Any, version: int = 1) -> str:
    """Returns the key of a stage: a hash of its settings, its code version and the keys of its input stages.

    Args:
        inputs: The stages whose results the stage reads.
        settings: The settings of the stage, a dataclass.
        version: The version of the stage's code.
    """
    parts = {"inputs": [stage.key for stage in inputs], "settings": asdict(settings), "version": version}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:KEY_LENGTH]
