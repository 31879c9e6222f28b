"""Runs a bulk run: checks the input, makes what is not done yet, and sums up."""

import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import polars as pl

from rqrec.models.bundle.manifest import read_manifest
from rqrec.models.bundle.store import bundle_folder
from rqrec.service.bulk.figures import Figures
from rqrec.service.bulk.grouping import HistoryRules, event_files, events_folder, group_events
from rqrec.service.bulk.output import HISTORIES, OutputFolder, OutputRefused
from rqrec.service.bulk.part_maker import Job
from rqrec.service.bulk.progress import user_progress
from rqrec.service.bulk.request import checked_request
from rqrec.service.bulk.source import (
    InputFile,
    Slice,
    check_apart,
    check_histories,
    check_same_input,
    fingerprints,
    parquet_files,
    slices_of,
)
from rqrec.service.composition import load_options, request_limits
from rqrec.service.settings import Settings
from rqrec.service.users.event_rules import EventRules

FORMAT = 3  # of the output folder; another division into slices, or other histories of events, need another one
INPUT = "input"  # in the identity of a run


class Pool(Protocol):
    """Makes slices at several places at the same time."""

    def check(self) -> None:
        """Checks that the bundle can be served, and that the request fits it."""

    def make(self, slices: Sequence[Slice]) -> Iterable[Figures]:
        """Makes slices, and returns the counts of each as soon as it is written."""


@dataclass(frozen=True)
class BulkOptions:
    """The options of a bulk run.

    Attributes:
        bundle: The bundle, or a folder of bundles, of which the current one is taken.
        source: The files of histories, or the folder of exported events.
        has_events: Whether `source` has events.
        fields: The fields of the request that all users share.
        out: The output folder.
    """

    bundle: Path
    source: Path
    has_events: bool
    fields: Mapping[str, Any]
    out: Path


class Outcome(NamedTuple):
    """What a bulk run has done.

    Attributes:
        figures: The counts of the whole, also of what earlier runs in the same folder did.
        num_users: The number of users whose lists this run has made.
        seconds: How long that took.
    """

    figures: Figures
    num_users: int
    seconds: float


def run_bulk(
    options: BulkOptions, settings: Settings, open_pool: Callable[[Job], AbstractContextManager[Pool]]
) -> Outcome:
    """Makes the lists of all users that are not made yet.

    Args:
        options: The options of the run.
        settings: The settings of the service, of which the engine and the limits of a request are used.
        open_pool: Starts what makes the slices of a job.

    Raises:
        UserError: If the input, the request or the output folder cannot be used.
        BundleError: If the bundle cannot be served.
        InvalidRequest: If the request does not fit the catalogue.
    """
    files = event_files(options.source) if options.has_events else parquet_files(options.source)
    if not options.has_events:
        check_histories(files)
    output = OutputFolder(options.out.absolute())
    check_apart(output.path, events_folder(options.source) if options.has_events else options.source)
    with output.locked():
        begun = output.begun_with("request")
        at = None if begun is None else begun["at"]
        limits = request_limits(settings)
        request = checked_request(
            options.fields, at=at, has_events=options.has_events, most_excluded=limits.max_history_items
        )
        job = _job(options, settings, request, output)
        identity = _identity(options, settings, job, files)
        if begun is not None:
            check_same_input(output.begun_with(INPUT), identity[INPUT], files)
            output.claim(identity)
            if output.is_complete():
                return Outcome(sum(output.done().values(), Figures()), 0, 0.0)
        slices = None if options.has_events else slices_of(files)
        with open_pool(job) as pool:
            if begun is None:
                pool.check()
                output.claim(identity)
            if slices is None:
                slices = slices_of(group_events(files, output.path / HISTORIES, _history_rules(settings)))
            outcome = _make(pool, slices, output)
        output.write_summary(outcome.figures, len(slices))
        if options.has_events:
            shutil.rmtree(output.path / HISTORIES)
    return outcome


def _make(pool: Pool, slices: Sequence[Slice], output: OutputFolder) -> Outcome:
    done = output.done()
    if unknown := sorted(done.keys() - {one.number for one in slices}):
        raise OutputRefused(
            f"{output.path} has lists of parts {unknown}, but the input has {len(slices)} parts: choose another --out"
        )
    figures, open_slices = sum(done.values(), Figures()), [one for one in slices if one.number not in done]
    num_done, begin = figures.users, time.perf_counter()
    with user_progress(sum(one.num_rows for one in slices), num_done) as advance:
        for made in pool.make(open_slices):
            figures += made
            advance(made.users)
    return Outcome(figures, figures.users - num_done, time.perf_counter() - begin)


def _job(options: BulkOptions, settings: Settings, request: str, output: OutputFolder) -> Job:
    rules = tuple(sorted(settings.event_types.items())) if options.has_events else None
    folder = bundle_folder(options.bundle)
    return Job(folder, load_options(settings), request, request_limits(settings), rules, output.path)


def _identity(options: BulkOptions, settings: Settings, job: Job, files: Sequence[InputFile]) -> dict[str, Any]:
    """All that the lists depend on. What only changes how fast they are made is left out."""
    manifest = read_manifest(job.bundle)
    identity: dict[str, Any] = {
        "format": FORMAT,
        INPUT: fingerprints(files, options.source),
        "bundle": manifest.digest,
        "model_version": manifest.version,
        "request": json.loads(job.request),
        "beam_width": settings.beam_width,
        "read_items": settings.read_items,
        "max_history_items": settings.max_history_items,
        "engine": [settings.backend, settings.precision],
    }
    if options.has_events:
        identity |= {
            "event_types": {name: rule.model_dump() for name, rule in settings.event_types.items()},
            "user_history": settings.user_history,
            "polars": pl.__version__,  # its hash divides the users among files
        }
    return identity


def _history_rules(settings: Settings) -> HistoryRules:
    return HistoryRules(EventRules(settings.event_types).stored_types, settings.user_history)
