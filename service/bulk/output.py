"""The folder that a bulk run writes: a file of lists for each slice, and what the whole is made of.

    <folder>/bulk.json                     what the lists depend on: input, bundle, request and limits
    <folder>/lists/part-00012.parquet      user_id, rank, item_id, score
    <folder>/skipped/part-00012.parquet    user_id, reason; only for slices in which users are skipped
    <folder>/summary.json                  the counts of the whole, written last
    <folder>/histories/part-00012.parquet  histories that are made of events; removed at the end

A file is written under a hidden name, flushed and renamed, so it is whole or missing. The lists of a slice are renamed
last. So a slice is done if its file of lists is there, and a slice that is made twice replaces its files by equal ones.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from rqrec.models.errors import NotWritten, UserError, first_line
from rqrec.models.files import UNFINISHED, write_file
from rqrec.service.bulk.figures import Figures

IDENTITY, LISTS, SKIPPED, SUMMARY = "bulk.json", "lists", "skipped", "summary.json"
HISTORIES = "histories"  # made of events
FIGURES, NUMBER = "rqrec.bulk", "rqrec.slice"  # the counts and the number of a slice, in the metadata of its lists
SLICES = "slices"  # in the summary


class OutputRefused(UserError):
    """Raised when the output folder of a bulk run cannot be used."""


@dataclass(frozen=True)
class OutputFolder:
    """The folder of a bulk run.

    Attributes:
        path: The folder.
    """

    path: Path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder and holds its lock during the block. Removes files that a killed run left unfinished.

        Raises:
            OutputRefused: If the folder has other content, or if another run holds the lock.
        """
        if self.path.exists() and not self.path.is_dir():
            raise OutputRefused(f"expected a folder for the lists, {self.path} is a file: choose another --out")
        if (
            self.path.is_dir()
            and not self._identity.exists()
            and any(not _is_hidden(one) for one in self.path.iterdir())
        ):
            raise OutputRefused(
                f"expected an empty folder or one of rqrec bulk, {self.path} has other content: choose another --out"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputRefused(
                    f"another run writes to {self.path}: wait until it has ended, or stop it"
                ) from error
            self._remove_unfinished()
            yield
        finally:
            os.close(handle)  # this unlocks the folder, and so does the end of the process

    def claim(self, identity: Mapping[str, Any]) -> None:
        """Begins the run, or checks that the run which was begun here has the same input, bundle and options.

        Args:
            identity: All that the lists depend on, as JSON values by name.

        Raises:
            OutputRefused: If another run was begun here.
        """
        if not self._identity.exists():
            self._write_json(self._identity, identity)
            return
        begun = self._begun()
        if begun != identity:
            differing = sorted(name for name in {*begun, *identity} if begun.get(name) != identity.get(name))
            shown = "; ".join(
                f"{name} was {_short(begun.get(name))}, is {_short(identity.get(name))}" for name in differing
            )
            raise OutputRefused(
                f"{self.path} was begun with other input or options ({shown}): give the same ones to go on, or choose "
                "another --out"
            )

    def begun_with(self, name: str) -> Any:
        """Returns one value with which the run in this folder was begun; None if no run was begun.

        Args:
            name: The name of the value in the identity.
        """
        return self._begun().get(name) if self._identity.exists() else None

    def done(self) -> dict[int, Figures]:
        """Returns the counts of each slice that is done, by its number.

        Raises:
            OutputRefused: If a file is damaged, or is none that a run has written under this name.
        """
        return dict(map(self._numbered_figures, sorted((self.path / LISTS).glob("part-*.parquet"))))

    def write_slice(self, number: int, lists: pl.DataFrame, skipped: pl.DataFrame, figures: Figures) -> None:
        """Writes the lists of a slice, after which the slice is done.

        Args:
            number: The number of the slice.
            lists: The lists.
            skipped: The users without a list, and the reasons.
            figures: The counts of the slice.

        Raises:
            NotWritten: If a file cannot be written, for example because the disk is full.
        """
        if len(skipped):
            _write(self.path / SKIPPED / _name(number), skipped.write_parquet)
        metadata = {FIGURES: json.dumps(figures.as_fields()), NUMBER: str(number)}
        _write(self.path / LISTS / _name(number), lambda file: lists.write_parquet(file, metadata=metadata))

    def write_summary(self, figures: Figures, num_slices: int) -> None:
        """Writes the counts of the whole, which say that the run is complete.

        Args:
            figures: The counts.
            num_slices: The number of slices.
        """
        self._write_json(self.path / SUMMARY, {**figures.as_fields(), SLICES: num_slices})

    def _remove_unfinished(self) -> None:
        for pattern in (f"{UNFINISHED}*", f"*/{UNFINISHED}*"):
            for file in self.path.glob(pattern):
                file.unlink()
        for folder in self.path.glob(f".{HISTORIES}-*"):  # see models.files.new_directory
            shutil.rmtree(folder)

    def is_complete(self) -> bool:
        """Returns whether all lists are there."""
        summary = self.path / SUMMARY
        return summary.exists() and set(self.done()) == set(range(_read_json(summary).get(SLICES, 0)))

    @property
    def _identity(self) -> Path:
        return self.path / IDENTITY

    def _begun(self) -> dict[str, Any]:
        return _read_json(self._identity)

    def _numbered_figures(self, file: Path) -> tuple[int, Figures]:
        try:
            with file.open("rb") as content:
                metadata = pl.read_parquet_metadata(content)
            number, figures = int(metadata[NUMBER]), Figures(**json.loads(metadata[FIGURES]))
            if file.name != _name(number):
                raise ValueError(f"it has the lists of {_name(number)}")  # noqa: TRY301 - told as the others are
        except (pl.exceptions.PolarsError, OSError, KeyError, TypeError, ValueError) as error:
            raise OutputRefused(
                f"expected a file of rqrec bulk, {file} is none or is damaged ({first_line(error)}): remove it, and "
                "its slice is made again"
            ) from error
        return number, figures

    def _write_json(self, file: Path, fields: Mapping[str, Any]) -> None:
        _write(file, lambda unfinished: unfinished.write_text(json.dumps(fields, indent=2) + "\n"))


def _write(file: Path, write: Callable[[Path], object]) -> None:
    try:
        write_file(file, write)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise NotWritten.because(error, file) from error


def _read_json(file: Path) -> dict[str, Any]:
    try:
        fields = json.loads(file.read_text())
    except ValueError as error:
        raise OutputRefused(f"{file} is damaged ({first_line(error)}): choose another --out") from error
    if not isinstance(fields, dict):
        raise OutputRefused(f"{file} is damaged (it holds no object): choose another --out")
    return fields


def _name(number: int) -> str:
    return f"part-{number:05d}.parquet"


def _is_hidden(file: Path) -> bool:
    return file.name.startswith(UNFINISHED)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
