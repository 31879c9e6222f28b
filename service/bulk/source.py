"""The Parquet files that a bulk run reads: their checks, their fingerprint, and their division into slices."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from rqrec.models.errors import UserError, first_line
from rqrec.models.visible_files import visible_files

USER_ID, HISTORY, EXCLUDE = "user_id", "history", "exclude"
HIDDEN = (".", "_")  # first characters of the names of files and folders that are no data
SLICES, FEWEST_USERS, MOST_USERS = 64, 1024, 65_536  # how many slices there are at least, as far as their sizes allow
MOST_ITEMS = 4_000_000  # of the histories and exclusions of a slice, as far as samples of its file tell
SAMPLES, SAMPLED_ROWS = 4, 1024  # of a file
FIRST_CHANGES = 3  # named in an error


class InvalidSource(UserError):
    """Raised when the input of a bulk run cannot be used."""


@dataclass(frozen=True)
class InputFile:
    """A file of the input, as it was when the run began.

    Attributes:
        path: The file.
        size: Its size, in bytes.
        mtime_ns: When it was changed last, in nanoseconds since 1970.
    """

    path: Path
    size: int
    mtime_ns: int

    @classmethod
    def now(cls, path: Path) -> "InputFile":
        """Returns a file as it is now."""
        status = path.stat()
        return cls(path.absolute(), status.st_size, status.st_mtime_ns)

    def check_unchanged(self) -> None:
        """Checks that the file was not changed since.

        Raises:
            InvalidSource: If it was.
        """
        if InputFile.now(self.path) != self:
            raise InvalidSource(
                f"the input must stay as it is during the run, but {self.path} was changed: begin again with another "
                "output folder"
            )


@dataclass(frozen=True)
class Slice:
    """Some rows of a file, of which one file of lists is made.

    Attributes:
        number: The number of the slice, from 0.
        file: The file.
        first_row: The number of the first row in the file, from 0.
        num_rows: The number of rows.
    """

    number: int
    file: InputFile
    first_row: int
    num_rows: int


def parquet_files(path: Path) -> list[InputFile]:
    """Lists the Parquet files of a folder and its sub-folders, in the order of their paths.

    Args:
        path: The folder, or one file.

    Raises:
        InvalidSource: If there is no such file.
    """
    if path.is_file():
        return [InputFile.now(path)]
    found = sorted(file for file in visible_files(path, HIDDEN) if file.suffix.lower() == ".parquet")
    if not found:
        raise InvalidSource(f"expected a Parquet file or a folder of *.parquet, found none at {path}: check the path")
    return [*map(InputFile.now, found)]


def check_apart(out: Path, source: Path) -> None:
    """Checks that the output is in no folder that is read: the same command, given again, would read the lists.

    Args:
        out: The output folder.
        source: The folder of the input, or its one file.

    Raises:
        InvalidSource: If the output is there.
    """
    out, source = out.resolve(), source.resolve()
    if not source.is_dir() or not out.is_relative_to(source):
        return
    if not any(name.startswith(HIDDEN) for name in out.relative_to(source).parts):
        raise InvalidSource(f"the output folder {out} must not be in the folder of the input: choose another --out")


def fingerprints(files: Sequence[InputFile], source: Path) -> dict[str, Any]:
    """Returns the size and the hash of the content of each file, as JSON values by its name below the source.

    Args:
        files: The files.
        source: The folder of all files, or the one file.
    """
    root, found = source.absolute() if source.is_dir() else source.absolute().parent, dict[str, Any]()
    for file in files:
        with file.path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        found[str(file.path.relative_to(root))] = {"bytes": file.size, "sha256": digest}
    return found


def check_same_input(before: object, now: Mapping[str, Any], files: Sequence[InputFile]) -> None:
    """Checks that files are those with which a run was begun.

    Args:
        before: The `fingerprints` of then. If they are of another format, nothing is checked.
        now: Those of now.
        files: The files, in the order of `now`.

    Raises:
        InvalidSource: If a file is new or gone, or has other content. The message names it.
    """
    if not isinstance(before, dict) or before == now:
        return
    changes = [f"{name} is gone" for name in before if name not in now]
    for file, (name, what) in zip(files, now.items(), strict=True):
        if before.get(name) != what:
            time = datetime.fromtimestamp(file.mtime_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            old = f"had {before[name]['bytes']:,} bytes and has" if name in before else "is new with"
            changes.append(f"{name} {old} {what['bytes']:,} bytes, changed {time}")
    told = "; ".join([*changes[:FIRST_CHANGES], *([f"{len(changes)} changes"] if len(changes) > FIRST_CHANGES else [])])
    raise InvalidSource(
        f"the run in the output folder was begun with other input ({told}): give the same files to go on, or choose "
        "another --out"
    )


def schema_of(files: Sequence[InputFile]) -> Mapping[str, pl.DataType]:
    """Returns the columns that all files have, with their types.

    Args:
        files: The files, at least one.

    Raises:
        InvalidSource: If a file is no Parquet file, or has other columns or types than the first one.
    """
    first = _schema(files[0].path)
    for file in files[1:]:
        if (other := _schema(file.path)) != first:
            differing = sorted(name for name in {*first, *other} if first.get(name) != other.get(name))
            raise InvalidSource(
                f"all files must have the same columns and types, but {files[0].path} and {file.path} differ in "
                f"{differing}: write them alike"
            )
    return first


def check_histories(files: Sequence[InputFile]) -> None:
    """Checks that files have the columns `user_id` and `history`, with types that can be read.

    Args:
        files: The files, at least one.

    Raises:
        InvalidSource: If they have not.
    """
    schema = schema_of(files)
    for name in (USER_ID, HISTORY):
        if name not in schema:
            raise InvalidSource(
                f"expected the columns {USER_ID} and {HISTORY}, got {sorted(schema)} in {files[0].path}: rename the "
                f"column of the {'users' if name == USER_ID else 'histories'}, or name a folder of events with --events"
            )
    if not _is_id(schema[USER_ID]):
        raise InvalidSource(
            f"{USER_ID} must be of strings or integers, got {schema[USER_ID]} in {files[0].path}: "
            + _repair(schema[USER_ID])
        )
    for name in (HISTORY, EXCLUDE):
        if name in schema and not _is_list_of_items(schema[name], with_events=name == HISTORY):
            events = ", or of structs of item_id, type (a string) and at (seconds or a time with its zone)"
            raise InvalidSource(
                f"{name} must be lists of strings or integers{events if name == HISTORY else ''}, got {schema[name]} "
                f"in {files[0].path}: {_repair(schema[name])}"
            )


def _repair(found: pl.DataType) -> str:
    """Says what to do about a column of a wrong type."""
    if found == pl.Null:
        return "it has no values, so write it with a type"
    return "split it into lists" if found == pl.String else "cast it"


def slices_of(files: Sequence[InputFile]) -> list[Slice]:
    """Divides the rows of files into slices of about one size. Equal files always give the same slices.

    Args:
        files: Files with a row for each user.

    Raises:
        InvalidSource: If the files have no rows, or if one cannot be read.
    """
    num_rows = [_num_rows(file.path) for file in files]
    if not any(num_rows):
        raise InvalidSource(f"expected at least one user, found no row in {files[0].path}: check what writes the input")
    size = min(max(-(-sum(num_rows) // SLICES), FEWEST_USERS), MOST_USERS)
    slices: list[Slice] = []
    for file, total in zip(files, num_rows, strict=True):
        step = max(min(size, int(MOST_ITEMS / max(_items_of_a_row(file.path, total), 1))), 1)
        for begin in range(0, total, step):
            slices.append(Slice(len(slices), file, begin, min(step, total - begin)))
    return slices


def scanned(file: Path) -> pl.LazyFrame:
    """Returns the rows of one Parquet file, to be read later. Its name may hold any character.

    Args:
        file: The file.
    """
    return pl.scan_parquet(file, hive_partitioning=False, glob=False)


def _num_rows(file: Path) -> int:
    return int(scanned(file).select(pl.len()).collect().item())


def _items_of_a_row(file: Path, num_rows: int) -> float:
    """The mean number of items in the lists of a row, of some rows in all places of a file."""
    scan, sampled, items = scanned(file), 0, 0
    try:
        lists = [pl.col(name).list.len().sum() for name in (HISTORY, EXCLUDE) if name in scan.collect_schema()]
        for begin in range(0, num_rows, -(-num_rows // SAMPLES) or 1):
            rows, *some = scan.slice(begin, SAMPLED_ROWS).select(pl.len(), *lists).collect().row(0)
            sampled, items = sampled + rows, items + sum(some)
    except pl.exceptions.PolarsError as error:
        raise InvalidSource(f"{file} cannot be read ({first_line(error)}): write it again") from error
    return items / max(sampled, 1)


def _schema(file: Path) -> dict[str, pl.DataType]:
    try:
        return dict(scanned(file).collect_schema())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InvalidSource(
            f"expected a Parquet file, {file} is none that can be read ({first_line(error)})"
        ) from error


def _is_id(kind: pl.DataType) -> bool:
    return kind == pl.String or kind.is_integer()


def _is_list_of_items(kind: pl.DataType, *, with_events: bool) -> bool:
    if not isinstance(kind, pl.List):
        return False
    inner = kind.inner
    assert isinstance(inner, pl.DataType)
    if not isinstance(inner, pl.Struct):
        return _is_id(inner)
    fields = {field.name: field.dtype for field in inner.fields}
    return (
        with_events
        and set(fields) <= {"item_id", "type", "at"}
        and _is_id(_instance(fields.get("item_id", pl.Null())))
        and fields.get("type", pl.String) == pl.String
        and _is_time(_instance(fields.get("at", pl.Float64())))
    )


def _is_time(kind: pl.DataType) -> bool:
    return kind.is_numeric() or (isinstance(kind, pl.Datetime) and kind.time_zone is not None)


def _instance(kind: object) -> pl.DataType:
    assert isinstance(kind, pl.DataType)
    return kind
