"""A workspace: the folder below which stages keep what they made, and redo it only when what it came from changed."""

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.bundle import new_directory
from training.distributed import from_first, process, wait_for_all

STAMP = "stage.json"
KEY_LENGTH = 16


@dataclass(frozen=True)
class Stage:
    """A finished stage: its folder, and a key that changes with everything that it was made from."""

    path: Path
    key: str

    @property
    def seconds(self) -> float:
        """How long its last run took; after an interruption, from where that went on."""
        return float(json.loads((self.path / STAMP).read_text(encoding="utf-8"))["seconds"])


@dataclass(frozen=True)
class Workspace:
    """The folder of one run: one data set, one configuration.

    Attributes:
        root: Holds a folder for every stage.
        data_dir: Where raw public data is kept, shared between workspaces.
        resume: Whether training goes on from a checkpoint that was made from the same inputs.
    """

    root: Path
    data_dir: Path
    resume: bool = True

    def run(
        self,
        name: str,
        *,
        inputs: Sequence[Stage],
        settings: Any,
        write: Callable[[Path], None],
        version: int = 1,
        together: bool = False,
    ) -> Stage:
        """Runs a stage, unless its folder already holds the result of the same inputs and settings.

        Args:
            name: The stage's folder below the root.
            inputs: The stages whose results it reads.
            settings: Its settings, a dataclass.
            write: Fills a fresh folder with the result; the folder is renamed into place when it returns.
            version: To be raised when the stage's code gives other results for the same inputs.
            together: Whether every process of `training.distributed` takes part in `write`; what the first one wrote
                is kept.
        """
        key = stage_key(inputs, settings, version)
        stage = Stage(self.root / name, key)
        stamp = stage.path / STAMP
        stands = stamp.is_file() and json.loads(stamp.read_text(encoding="utf-8")).get("key") == key
        if from_first(stands):
            return stage
        if process() > 0:
            if together:
                with tempfile.TemporaryDirectory() as unwanted:
                    write(Path(unwanted))
            wait_for_all()  # until the first process has the result in place
            return stage
        begin = time.perf_counter()
        with new_directory(stage.path) as directory:
            write(directory)
            inputs_of = [one.key for one in inputs]
            seconds = round(time.perf_counter() - begin, 1)
            description = {"key": key, "settings": asdict(settings), "inputs": inputs_of, "seconds": seconds}
            (directory / STAMP).write_text(json.dumps(description, indent=2), encoding="utf-8")
        shutil.rmtree(self._checkpoints_of(name), ignore_errors=True)
        wait_for_all()
        return stage

    def checkpoints(self, name: str, key: str) -> Path:
        """Where an unfinished stage keeps its checkpoints; those of other inputs are removed."""
        parent = self._checkpoints_of(name)
        if parent.is_dir() and process() == 0:
            for other in parent.iterdir():
                if other.name != key or not self.resume:
                    shutil.rmtree(other)
        wait_for_all()
        return parent / key

    def _checkpoints_of(self, name: str) -> Path:
        return self.root / f"{name}-checkpoints"


def stage_key(inputs: Sequence[Stage], settings: Any, version: int = 1) -> str:
    """The key of a stage with these inputs and settings."""
    parts = {"inputs": [stage.key for stage in inputs], "settings": asdict(settings), "version": version}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:KEY_LENGTH]
