"""What an operator does beside the running service: train the first model, export events, retrain."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

RETRAINED = (0, 3, 4)  # exit statuses of a retraining: published, worse, a full training is due
TRAIN_SECONDS = "train_s.json"


class Learner:
    """The commands that make models, and how long they took.

    Args:
        folder: The folder of the models, which a later run reuses.
        events: The folder of exported events, of this run alone.
        settings: Environment variables of the service (RQREC_…), which name its event store.

    Attributes:
        bundles: The folder of bundles, whose `current` is the newest one.
        train_s: Duration of the first training in seconds.
        retrain_s: Durations of the retrainings in seconds.
        not_published: Number of retrainings that published no model, such as one that was worse.
    """

    def __init__(self, folder: Path, events: Path, settings: Mapping[str, str]) -> None:
        self._folder, self._events = folder, events
        self._settings = settings
        self.bundles = folder / "first" / "bundles"
        self.train_s = 0.0
        self.retrain_s: list[float] = []
        self.not_published = 0

    def train(self, data_set: Path, bindings: Sequence[str]) -> None:
        """Trains the first model, or publishes it again if the folder has it; then its time is the one measured first.

        Args:
            data_set: The folder of events and items to train on.
            bindings: gin bindings.
        """
        options = [part for binding in bindings for part in ("--set", binding)]
        begin = time.monotonic()
        work_dir = str(self.bundles.parent)
        self._run("train", "decoder.gin", "--dataset", str(data_set), "--work-dir", work_dir, *options)
        taken = self._folder / TRAIN_SECONDS
        if not taken.exists():
            taken.write_text(json.dumps(time.monotonic() - begin), encoding="utf-8")
        self.train_s = json.loads(taken.read_text(encoding="utf-8"))

    def export(self) -> pl.DataFrame:
        """Exports the events of the service, and returns all that were ever exported."""
        self._run("export-events", str(self._events))
        return pl.read_parquet(self._events / "interactions" / "**" / "*.parquet")

    def retrain(self) -> str | None:
        """Retrains the newest model on the exported events.

        Returns:
            The version of the new model; None if none was published.
        """
        before, begin = (self.bundles / "current").resolve(), time.monotonic()
        work_dir = str(self._folder / "retrain")
        command = ("--bundle", str(self.bundles), "--events", str(self._events), "--work-dir", work_dir)
        self._run("retrain", *command, may_be=RETRAINED)
        self.retrain_s.append(time.monotonic() - begin)
        after = (self.bundles / "current").resolve()
        if after == before:
            self.not_published += 1
            return None
        return after.name

    def _run(self, *arguments: str, may_be: Sequence[int] = (0,)) -> None:
        """Runs `rqrec` with arguments. The exit status must be one of `may_be`."""
        command = [sys.executable, "-m", "rqrec", *arguments]
        environment = {**os.environ, **self._settings}
        status = subprocess.run(command, check=False, env=environment, stdout=sys.stderr).returncode
        if status not in may_be:
            raise subprocess.CalledProcessError(status, command)
