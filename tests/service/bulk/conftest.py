from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from rqrec.service.bulk.figures import Figures
from rqrec.service.bulk.part_maker import Job, part_maker
from rqrec.service.bulk.run import BulkOptions, Outcome, run_bulk
from rqrec.service.bulk.source import Slice
from tests.service.conftest import settings_for

FILMS = [str(film) for film in range(100, 164)]
UNKNOWN = "unknown film"
Run = Callable[..., Outcome]


class OwnPool:
    """Makes slices in the process of the test."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def check(self) -> None:
        part_maker(self._job)

    def make(self, slices: Sequence[Slice]) -> Iterator[Figures]:
        yield from map(part_maker(self._job).make, slices)


@contextmanager
def own_pool(job: Job) -> Iterator[OwnPool]:
    yield OwnPool(job)


def random_histories(users: int) -> pl.DataFrame:
    """Users with 0 to 12 films each, of which one in twenty is unknown."""
    rng = np.random.default_rng(1)
    names = [*FILMS, *[UNKNOWN] * 3]
    histories = [[names[film] for film in rng.integers(0, len(names), rng.integers(0, 13))] for _ in range(users)]
    return pl.DataFrame({"user_id": [f"user {number}" for number in range(users)], "history": histories})


@pytest.fixture
def run(bundles: Path, tmp_path: Path) -> Run:
    """Runs a bulk run in this process, by default to the folder `out`."""

    def run_it(source: Path, fields: Mapping[str, Any] | None = None, *, has_events: bool = False) -> Outcome:
        options = BulkOptions(bundles, source, has_events, fields or {}, tmp_path / "out")
        return run_bulk(options, settings_for(bundles), own_pool)

    return run_it


def lists_in(out: Path) -> dict[Any, list[str]]:
    """The item ids of each list by rank; fails if a rank is there twice or missing."""
    lists: dict[Any, list[str]] = {}
    for user, rank, item_id, _ in pl.read_parquet(out / "lists").iter_rows():
        assert rank == len(lists.setdefault(user, [])) + 1
        lists[user].append(item_id)
    return lists
