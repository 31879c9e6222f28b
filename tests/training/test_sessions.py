"""Times of interactions, from data to HTTP."""

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

from benchmarks.accuracy import run as run_accuracy
from benchmarks.support.accuracy.bsarec import BsaRecSettings
from benchmarks.support.accuracy.judge import Rivals
from benchmarks.support.accuracy.sasrec import SasRecSettings
from rqrec.service.app import create_app
from rqrec.training.data.prepare import load_split
from rqrec.training.evaluate import load_results
from rqrec.training.publish import BUNDLES
from rqrec.training.run import Run
from rqrec.training.runtime.workspace import Workspace
from rqrec.training.train_decoder import load_transitions
from tests.conftest import SMALL_CONFIG, small_settings
from tests.service.conftest import settings_for

SHORT = ("ShortTermSettings.epochs = 1", "DecoderSettings.epochs = 2")
DAY_S = 86_400


@pytest.fixture(scope="module")
def dated_shop(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop with times since 1970, of which two choices of a user share a day, as in data that has days alone."""
    folder = Path(shutil.copytree(shop, tmp_path_factory.mktemp("dated") / "shop"))
    ratings = pl.read_csv(folder / "ratings.csv")
    days = 1_600_000_000 // DAY_S + pl.col("timestamp") // 20
    ratings.with_columns(timestamp=days * DAY_S).write_csv(folder / "ratings.csv")
    return folder


@pytest.fixture(scope="module")
def dated(dated_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on data with times."""
    root = tmp_path_factory.mktemp("dated-work")
    return Run(Workspace(root / "work", root), small_settings(dated_shop, *SHORT))


def scores(client: TestClient, *history: Any, **more: Any) -> dict[str, float]:
    response = client.post("/recommend", json={"history": list(history), "k": 64, **more})
    assert response.status_code == 200, response.text
    return {item["item_id"]: item["score"] for item in response.json()["items"]}


def test_the_evaluation_knows_the_times_in_a_row_of_its_own(dated: Run) -> None:
    results = load_results(dated.evaluation)
    assert results["rqrec"].keys() == results["rqrec, times known"].keys()
    assert results["rqrec"] != results["rqrec, times known"]


@pytest.mark.usefixtures("without_search_graph")
def test_a_request_in_a_session_is_answered_by_pairs_of_sessions(dated: Run) -> None:
    ids = dated.workspace.root / BUNDLES
    assert load_transitions(dated.decoder).session_strengths_P is not None
    assert dated.bundle.is_dir()
    now = 1_700_000_000
    with TestClient(create_app(settings_for(ids, backend="torch", device="cpu"))) as client:
        plain = scores(client, "116", "117")
        entries = "116", {"item_id": "117", "at": now}
        assert scores(client, *entries, at=now + DAY_S) == scores(client, "116", {"item_id": "117"}, at=now) == plain
        assert scores(client, *entries, at=now + 60) == scores(client, *entries, at=now) != plain


def test_data_without_times_has_no_sessions(dated_shop: Path, tmp_path: Path) -> None:
    run = Run(
        Workspace(tmp_path / "work", tmp_path), small_settings(dated_shop, *SHORT, "DatasetSettings.times = 'ignore'")
    )
    assert load_split(run.data).test.times_U is None
    assert load_transitions(run.decoder).session_strengths_P is None
    assert "rqrec, times known" not in load_results(run.evaluation)


def test_the_benchmark_ends_with_the_figure_of_known_times(
    dated_shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rivals = Rivals(SasRecSettings(epochs=1, width=8), BsaRecSettings(), bsarec_seeds=0)
    run_accuracy(str(dated_shop), ("file",), (*SMALL_CONFIG, *SHORT), rivals, tmp_path, seeds=(0,))
    assert "timed_ndcg@10" in json.loads(capsys.readouterr().out.splitlines()[-1])
