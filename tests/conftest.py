"""A small shop whose users each like one kind of film: what the slower tests train on in seconds."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import settings

from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.training.publish import BUNDLES
from rqrec.training.run import Run, RunSettings
from rqrec.training.runtime.config import read_settings
from rqrec.training.runtime.workspace import Workspace

# A busy machine is slow now and then, which is no fault of an example.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu"):
        import torch  # noqa: PLC0415 - many tests need no torch

        if not torch.cuda.is_available():
            pytest.skip("needs a GPU")


GENRES = ("Animation", "Horror", "Romance", "War")
FILMS_PER_GENRE = 16
USERS = 160
SMALL_CONFIG = (
    "FeatureSettings.text_encoder = 'lsa'",
    "FeatureSettings.lsa_dim = 4",
    "FeatureSettings.collaborative_dim = 4",
    "RqVaeSettings.hidden_widths = (16,)",
    "RqVaeSettings.embed_dim = 8",
    "RqVaeSettings.codebook_size = 16",
    "RqVaeSettings.steps = 60",
    "RqVaeSettings.learning_rate = 1e-3",
    "ShortTermSettings.width = 8",
    "ShortTermSettings.epochs = 4",
    "ShortTermSettings.batch_size = 32",
    "ShortTermSettings.learning_rate = 1e-2",
    "DecoderSettings.width = 16",
    "DecoderSettings.num_heads = 2",
    "DecoderSettings.ff_width = 32",
    "DecoderSettings.encoder_layers = 1",
    "DecoderSettings.decoder_layers = 1",
    "DecoderSettings.max_history = 8",
    "DecoderSettings.epochs = 10",
    "DecoderSettings.batch_size = 32",
    "DecoderSettings.learning_rate = 1e-2",
    "DecoderSettings.dropout = 0.2",
    "DecoderSettings.negatives = 64",
)


def write_shop(folder: Path) -> Path:
    """Writes movies.csv and ratings.csv; film 100 + 16 g + i is film i of genre g."""
    rng = np.random.default_rng(0)
    films = [(100 + 16 * g + i, genre) for g, genre in enumerate(GENRES) for i in range(FILMS_PER_GENRE)]
    folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(
        {
            "movieId": [film for film, _ in films],
            "title": [f"{genre} {film} ({1980 + film % 20})" for film, genre in films],
            "genres": [genre for _, genre in films],
        }
    ).write_csv(folder / "movies.csv")
    rows = []
    for user in range(USERS):
        liked = rng.permutation(FILMS_PER_GENRE)[: rng.integers(6, 14)] + 100 + FILMS_PER_GENRE * (user % len(GENRES))
        rows += [(user + 1, int(film), 4.0, 1000 * user + 10 * place) for place, film in enumerate(liked)]
    pl.DataFrame(rows, schema=["userId", "movieId", "rating", "timestamp"], orient="row").write_csv(
        folder / "ratings.csv"
    )
    return folder


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all processes of this run of the tests share. TEST_RUNS names one that later runs reuse."""
    if kept := os.environ.get("TEST_RUNS"):
        Path(kept).mkdir(parents=True, exist_ok=True)
        return Path(kept)
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@contextmanager
def made_once(folder: Path) -> Iterator[None]:
    """Makes a folder, and keeps other processes out of the block: the first one fills it, the others find it filled."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def shop(run_folder: Path) -> Path:
    folder = run_folder / "data"
    with made_once(folder):
        return folder / "shop" if (folder / "shop").exists() else write_shop(folder / "shop")


def small_settings(source: Path, *bindings: str) -> RunSettings:
    """The small recipe on a folder of data, with any further bindings."""
    return read_settings(RunSettings, [], [f"DatasetSettings.source = '{source}'", *SMALL_CONFIG, *bindings])


@pytest.fixture(scope="session")
def configure(shop: Path) -> Callable[..., RunSettings]:
    """The small recipe on the shop, with any further bindings."""
    return lambda *bindings: small_settings(shop, *bindings)


@pytest.fixture(scope="session")
def trained(configure: Callable[..., RunSettings], run_folder: Path) -> Run:
    """A run that has published. The first process trains; the stages of the others find its results."""
    root = run_folder / "trained"
    with made_once(root):
        run = Run(Workspace(root / "work", root / "data"), configure())
        assert run.bundle.is_dir()
    return run


@pytest.fixture(scope="session")
def bundles(trained: Run) -> Path:
    return trained.workspace.root / BUNDLES


@pytest.fixture(scope="session")
def bundle(bundles: Path) -> Bundle:
    return read_bundle(bundles)


@contextmanager
def no_search_graph(*, with_report: bool = False) -> Iterator[None]:
    """Makes runs publish a placeholder for the graph of the search, and unless it is wanted a report without sections.

    Both take most of a short run's time. A service can serve such a bundle with the engine of PyTorch.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            "rqrec.models.search.exporting.export.export_search",
            lambda _retriever, _trie, path, **_options: path.touch(),
        )
        if not with_report:
            patched.setattr("rqrec.training.report.report.SECTIONS", ())
        yield


@pytest.fixture
def without_search_graph() -> Iterator[None]:
    with no_search_graph():
        yield
