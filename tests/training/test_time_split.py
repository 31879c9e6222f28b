"""A run whose data is split by time: every stage follows, and the evaluation asks for all items of the period too."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rqrec.models.bundle.bundle import read_bundle
from rqrec.training.data.prepare import load_prepared, load_split
from rqrec.training.data.splits import user_sequences
from rqrec.training.evaluate import load_results
from rqrec.training.evaluation.baselines import item_popularity
from rqrec.training.evaluation.report import DATA, POPULARITY, RECENT, RQREC, results_table
from rqrec.training.run import Run
from rqrec.training.runtime.workspace import open_workspace
from tests.conftest import no_search_graph, small_settings

ITEMS, USERS, EVENTS, START = 40, 50, 12, 1_700_000_000


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("by-time")
    rng = np.random.default_rng(0)
    rows = [
        (f"u{user}", f"i{rng.integers(ITEMS)}", START + int(rng.integers(10**7)))
        for user in range(USERS)
        for _ in range(EVENTS)
    ]
    (root / "shop").mkdir()
    pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row").write_csv(
        root / "shop" / "interactions.csv"
    )
    by_time = "SplitSettings.kind = 'time'", "SplitSettings.test_from = 0.8", "SplitSettings.exclude_history = False"
    settings = small_settings(root / "shop", *by_time, "DecoderSettings.epochs = 2", "RqVaeSettings.steps = 20")
    with open_workspace(root / "work", root) as workspace, no_search_graph():
        run = Run(workspace, settings)
        assert run.bundle.is_dir()
    return run


def test_the_evaluation_asks_for_the_next_item_and_for_all_of_the_period(run: Run) -> None:
    results = load_results(run.evaluation)
    assert results[DATA]["split_by_time"] == 1.0
    assert results[RQREC]["users"] == len(load_split(run.data).test)
    for name in (RQREC, POPULARITY, RECENT):
        assert 0 <= results[name]["period_recall@10"] <= 1
        assert 0 <= results[name]["period_ndcg@10"] <= 1
    assert str(results_table(results)[0].title).startswith("Test by time, full ranking, history allowed")


def test_the_evaluated_model_learns_the_training_part_only_and_the_published_one_everything(run: Run) -> None:
    train, everything = load_split(run.data).train, user_sequences(load_prepared(run.data))
    assert len(train.items_I) < 0.8 * USERS * EVENTS
    assert run.refit is not None
    assert read_bundle(run.bundle).learned.popularity_R.tolist() == item_popularity(everything, ITEMS).tolist()


def test_another_split_makes_every_stage_new(run: Run) -> None:
    with open_workspace(run.workspace.root, run.workspace.data_dir) as workspace:
        same = Run(workspace, run.settings)
        assert same.bundle == run.bundle
    changed = small_settings(Path(run.settings.dataset.source), "SplitSettings.kind = 'time'")
    with open_workspace(run.workspace.root.parent / "other", run.workspace.data_dir) as workspace:
        assert Run(workspace, changed).data.key != run.data.key
