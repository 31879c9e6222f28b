"""A shop with times: users like one kind of film. A bundle knows the first days; later events bring new films."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest

from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.training.retrain.__main__ import main
from rqrec.training.run import Run
from rqrec.training.runtime.workspace import open_workspace
from tests.conftest import no_search_graph, small_settings

START, DAY = 1_700_000_000, 86_400
GENRES = ("Animation", "Horror", "Romance", "War")
FILMS_PER_GENRE, USERS, FIRST_DAYS, DAYS = 12, 80, 8, 10
NEW_FILMS = tuple(f"{genre} new" for genre in GENRES)
ALL_DECIDE = ("--set", "RetrainSettings.judged_users=5")
SHORT = (
    "DecoderSettings.epochs = 2",
    "ShortTermSettings.epochs = 1",
    "RqVaeSettings.steps = 20",
    "SplitSettings.held_out_items = 0",
)


def retrain(bundle: Path, *events: Path, work: Path, more: tuple[str, ...] = ()) -> int:
    """Runs the command, and returns its exit status."""
    folders = map(str, events)
    with pytest.raises(SystemExit) as ended:
        main(["--bundle", str(bundle), "--events", *folders, "--work-dir", str(work), *ALL_DECIDE, *more])
    assert isinstance(ended.value.code, int)
    return ended.value.code


class Shop(NamedTuple):
    """The shop's folders, and the bundle that was trained on the first one."""

    first: Path
    events: Path
    bundles: Path

    @property
    def bundle(self) -> Bundle:
        return read_bundle(self.bundles)


def items(names: list[str]) -> pl.DataFrame:
    return pl.DataFrame(
        {"item_id": names, "title": names, "genres": [[name.split()[0]] for name in names], "year": [1990] * len(names)}
    )


def write(folder: Path, rows: list[tuple[str, str, int, str]], names: list[str]) -> Path:
    folder.mkdir(parents=True)
    columns = ["user_id", "item_id", "timestamp", "event_type"]
    pl.DataFrame(rows, schema=columns, orient="row").write_csv(folder / "interactions.csv")
    items(names).write_parquet(folder / "items.parquet")
    return folder


def happened() -> list[tuple[str, str, int, str]]:
    """What users did: each likes films of one genre, in the genre's order, and sometimes dislikes one."""
    rng, rows = np.random.default_rng(0), []
    for user in range(USERS):
        genre = GENRES[user % len(GENRES)]
        begin = int(rng.integers(FILMS_PER_GENRE))
        for day in range(DAYS):
            name = f"{genre} {(begin + day) % FILMS_PER_GENRE}"
            if day >= FIRST_DAYS and user % 3 == 0:
                name = f"{genre} new"
            kind = "dislike" if rng.random() < 0.1 else "view" if rng.random() < 0.5 else "purchase"
            rows.append((f"u{user}", name, START + day * DAY + 60 * user, kind))
    return rows


@pytest.fixture(scope="session")
def timed_shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    root, rows = tmp_path_factory.mktemp("timed"), happened()
    old = [f"{genre} {number}" for genre in GENRES for number in range(FILMS_PER_GENRE)]
    end = START + FIRST_DAYS * DAY
    first = write(root / "first", [row for row in rows if row[2] < end], old)
    events = write(root / "events", [row for row in rows if row[2] >= end], [*old, *NEW_FILMS])
    with open_workspace(root / "work", root) as workspace, no_search_graph():
        run = Run(workspace, small_settings(first, *SHORT))
        return Shop(first, events, run.bundle.parent)
