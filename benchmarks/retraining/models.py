"""Trains the models of the simulation by the commands that users run, and keeps them with the time that they took."""

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.retraining.asking import Answers, ask
from benchmarks.retraining.slices import Slices
from rqrec.models.bundle.bundle import Bundle, read_bundle, read_version
from rqrec.models.bundle.store import current_version
from rqrec.training.retrain.outcome import Ending

FROZEN, RETRAINED, FULL = "frozen", "retrained", "full"


class Models:
    """The models of the simulation.

    Args:
        slices: The slices of the data set.
        work_dir: The folder of all models and answers.
        data_dir: The folder of downloaded releases.
        first: Number of slices of the first training.
        bindings: Gin bindings of the full trainings.
        retrain_bindings: Gin bindings of the retrainings.
    """

    def __init__(
        self,
        slices: Slices,
        work_dir: Path,
        data_dir: Path,
        first: int,
        bindings: Sequence[str],
        retrain_bindings: Sequence[str],
    ) -> None:
        self._slices, self._work_dir, self._data_dir, self._first = slices, work_dir, data_dir, first
        self._bindings, self._retrain_bindings = bindings, retrain_bindings

    @cached_property
    def base(self) -> Bundle:
        """The model that was trained on the first slices."""
        return self.full(self._first)

    def full(self, known: int) -> Bundle:
        """Trains a model on all slices before a slice, unless it is there.

        Args:
            known: The slice.
        """
        work = self._work_dir / f"full-{known:02d}"
        source = self._slices.write(self._work_dir / f"slices-00-{known:02d}", 0, known)
        if not (work / "seconds.json").is_file():
            sets = [word for one in self._bindings for word in ("--set", one)]
            seconds = self._run("train", "--dataset", str(source), "--work-dir", str(work), *sets)
            (work / "seconds.json").write_text(json.dumps(seconds), encoding="utf-8")
        return read_bundle(work / "bundles")

    def retrained(self, known: int) -> Bundle:
        """Retrains the model of the slice before on all slices before a slice, unless it is there.

        Args:
            known: The slice.
        """
        bundles, done = self._work_dir / "retrained", self._work_dir / f"retrained-{known:02d}.json"
        if not done.is_file():
            before = self.base if known == self._first + 1 else self.retrained(known - 1)
            bundle = bundles / before.path.name
            if not bundle.is_dir():
                shutil.copytree(before.path, bundle)
            sets = [word for one in self._retrain_bindings for word in ("--set", one)]
            command = ["--bundle", str(bundle), "--events", *map(str, self._sources(known))]
            seconds = self._run("retrain", *command, "--work-dir", str(self._work_dir / "retrain"), *sets)
            published = {"version": current_version(bundles), "seconds": seconds}
            done.write_text(json.dumps(published), encoding="utf-8")
        return read_version(bundles, json.loads(done.read_text(encoding="utf-8"))["version"])

    def answers(self, name: str, known: int, model: Bundle, catalogue: Bundle) -> Answers:
        """Asks a model about a slice, unless its answers are there.

        Args:
            name: The model's name.
            known: The slice that is asked about.
            model: The model's bundle.
            catalogue: A bundle with all items that were chosen before the slice.
        """
        file = self._work_dir / f"answers-{name}-{known:02d}.npz"
        if not file.is_file():
            newest = self._slices.write(self._work_dir / f"slices-{known:02d}", known, known + 1)
            after_s = int(datetime.fromisoformat(catalogue.manifest.learnt_until).timestamp())
            sources = [*self._sources(known), newest]
            found = ask(model, catalogue, sources, after_s=after_s, data_dir=self._data_dir)
            np.savez(file, **found._asdict())
        with np.load(file) as stored:
            return Answers(**stored)

    def mean_seconds(self, name: str) -> float:
        """Returns the mean processor time of the full trainings or retrainings of a model, in seconds.

        Args:
            name: "full" or "retrained".
        """
        if name == FULL:
            files = self._work_dir.glob("full-*/seconds.json")
            return round(float(np.mean([json.loads(one.read_text()) for one in files])), 1)
        found = [json.loads(one.read_text())["seconds"] for one in self._work_dir.glob("retrained-*.json")]
        return round(float(np.mean(found)), 1)

    def _sources(self, known: int) -> list[Path]:
        """The folder of the first training, and one with all that came after it."""
        first = self._slices.write(self._work_dir / f"slices-00-{self._first:02d}", 0, self._first)
        return [self._slices.write(self._work_dir / f"slices-{self._first:02d}-{known:02d}", self._first, known), first]

    def _run(self, *command: str) -> float:
        """Runs a command of rqrec, and returns the seconds of processor time that it took."""
        before = _children_s()
        with (self._work_dir / "log.txt").open("a", encoding="utf-8") as log:
            data_dir = ["--data-dir", str(self._data_dir)]
            run = [sys.executable, "-m", "rqrec", *command, *data_dir]
            status = subprocess.run(run, check=False, stdout=log, stderr=log).returncode
        if status == Ending.WORSE.exit_status:
            raise RuntimeError(
                "a retrained model was worse than the one before, so it was not published: go on with "
                "--retrain-set RetrainSettings.judged_users=1000, so that the judge decides nothing"
            )
        if status not in (0, Ending.FULL_TRAINING_DUE.exit_status):  # the second one publishes too
            raise RuntimeError(f"rqrec {command[0]} ended with status {status}: see {self._work_dir / 'log.txt'}")
        return round(_children_s() - before, 1)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
