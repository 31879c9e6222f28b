"""Shops whose customers buy the same things again: the report says so, and lists repeat items of the history."""

import random
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from rqrec.models.bundle.bundle import read_bundle
from rqrec.service.app import create_app
from rqrec.training.data.prepare import load_repeats
from rqrec.training.evaluate import load_results
from rqrec.training.evaluation.report import (
    DATA,
    ITEM_KNN,
    OWN_FREQUENT,
    OWN_RECENT,
    POPULARITY,
    RQREC,
    results_table,
)
from rqrec.training.publish import BUNDLES
from rqrec.training.run import Run
from rqrec.training.runtime.workspace import open_workspace
from tests.conftest import no_search_graph, small_settings
from tests.service.conftest import settings_for

ITEMS, USERS, OWN = 90, 60, 3


def write_groceries(folder: Path) -> Path:
    """Everybody buys the same three things in turn."""
    rng = random.Random(0)
    folder.mkdir()
    rows = [f"i{item},{('red', 'blue', 'green')[item % 3]} thing {item}" for item in range(ITEMS)]
    (folder / "items.csv").write_text("\n".join(["item_id,title", *rows]))
    own = [rng.sample(range(ITEMS), OWN) for _ in range(USERS)]
    events = [f"u{user},i{items[t % OWN]},{t}" for user, items in enumerate(own) for t in range(9)]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *events]))
    return folder


@pytest.fixture(scope="module")
def groceries(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("groceries")
    settings = small_settings(write_groceries(root / "shop"), "DecoderSettings.epochs = 2", "RqVaeSettings.steps = 20")
    with open_workspace(root / "work", root) as workspace, no_search_graph():
        run = Run(workspace, settings)
        assert run.bundle.is_dir()
    return run


def test_the_report_says_how_many_targets_are_repeats(groceries: Run) -> None:
    report = (groceries.data.path / "report.txt").read_text(encoding="utf-8")
    assert "repeats: 100.0% of the test items and 66.7% of the training items stand in the user's own history" in report
    data = load_results(groceries.evaluation)[DATA]
    assert data["held_out_repeats"] == 1.0
    assert data["history_excluded"] == 0.0


def test_every_model_may_repeat_and_own_items_are_baselines(groceries: Run) -> None:
    results = load_results(groceries.evaluation)
    assert {RQREC, ITEM_KNN, POPULARITY, OWN_FREQUENT, OWN_RECENT} <= set(results)
    assert results[RQREC]["recall@5"] == results[OWN_FREQUENT]["recall@5"] == results[OWN_RECENT]["recall@5"] == 1.0
    title = results_table(results)[0].title
    assert title == "Leave-one-out test, full ranking, history allowed: 100% of the targets stand in it"


def test_the_bundle_carries_the_default_and_the_bonus(groceries: Run) -> None:
    manifest = read_bundle(groceries.bundle).manifest
    assert manifest.exclude_history is False
    weights = manifest.history_bonus.own
    assert weights is not None
    assert weights.by_count[0] > 0
    assert weights.by_count[-1] == weights.by_count[3]  # nobody chose an item more than four times


def test_the_service_repeats_unless_a_request_says_otherwise(groceries: Run) -> None:
    history = ["i1", "i2", "i3", "i1", "i2", "i3"]
    settings = settings_for(groceries.workspace.root / BUNDLES, backend="torch", device="cpu")
    with TestClient(create_app(settings)) as client:

        def items(**more: bool) -> set[str]:
            reply = client.post("/recommend", json={"history": history, "k": OWN, **more}).json()
            return {item["item_id"] for item in reply["items"]}

        assert items() == items(exclude_history=False) == {"i1", "i2", "i3"}
        assert not items(exclude_history=True) & set(history)


def test_a_setting_overrides_what_follows_from_the_data(groceries: Run, tmp_path: Path) -> None:
    settings = small_settings(Path(groceries.settings.dataset.source), "SplitSettings.exclude_history = True")
    with open_workspace(tmp_path / "work", tmp_path) as workspace:
        data = Run(workspace, settings).data
    assert data.key != groceries.data.key
    assert load_repeats(data).exclude_history
