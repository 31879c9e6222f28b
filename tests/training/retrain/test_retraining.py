"""One retraining by its command: what is published, and how it ends."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.models.bundle.item_features import read_item_features
from rqrec.models.bundle.layout import FEATURES, MANIFEST, RETRIEVER_WEIGHTS
from rqrec.models.bundle.manifest import seal_bundle
from rqrec.models.bundle.report import read_report
from rqrec.models.bundle.store import current_version, point_current
from rqrec.training.retrain.run import Retraining, settings_of
from rqrec.training.run import Run
from rqrec.training.runtime.loop import TrainingInterrupted
from rqrec.training.runtime.workspace import open_workspace
from rqrec.training.train_decoder import load_retriever
from tests.conftest import no_search_graph, small_settings
from tests.training.retrain.conftest import (
    DAY,
    DAYS,
    FIRST_DAYS,
    GENRES,
    NEW_FILMS,
    SHORT,
    START,
    USERS,
    Shop,
    retrain,
    write,
)


@pytest.fixture(scope="module")
def store(timed_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of bundles of its own, in which a retrained bundle stands beside the first one."""
    root = tmp_path_factory.mktemp("retrained")
    bundles = Path(shutil.copytree(timed_shop.bundles, root / "bundles", symlinks=True))
    metrics = ("--metrics", str(root / "retraining.prom"), "--set", "RetrainSettings.epochs=2")
    with no_search_graph(with_report=True):  # as in timed_shop
        assert retrain(bundles, timed_shop.events, timed_shop.first, work=root / "work", more=metrics) == 0
    return bundles


@pytest.fixture(scope="module")
def retrained(store: Path) -> Bundle:
    return read_bundle(store)


def test_every_known_item_keeps_its_semantic_id_its_features_and_its_place_on_the_map(
    timed_shop: Shop, retrained: Bundle
) -> None:
    before = timed_shop.bundle
    rows = len(before.items)
    assert retrained.items["item_id"][:rows].to_list() == before.items["item_id"].to_list()
    assert retrained.learned.codes_RL[:rows].tolist() == before.learned.codes_RL.tolist()
    assert (read_item_features(retrained)[:rows] == read_item_features(before)).all()
    assert before.map is not None
    assert retrained.map is not None
    assert (retrained.map.places_R2[:rows] == before.map.places_R2).all()


def test_new_items_follow_with_ids_of_their_own(timed_shop: Shop, retrained: Bundle) -> None:
    assert retrained.items["item_id"][len(timed_shop.bundle.items) :].to_list() == list(NEW_FILMS)
    assert len(np.unique(retrained.learned.codes_RL, axis=0)) == len(retrained.items)
    assert retrained.items["genres"][-1].to_list() == ["War"]


def test_the_report_begins_with_what_changed(timed_shop: Shop, retrained: Bundle) -> None:
    page = (read_report(retrained.path) or b"").decode()
    assert "could not be made" not in page
    assert page.index("What the retraining changed") < page.index("What stands out")
    assert f"It went on from {timed_shop.bundle.manifest.version}, which had learnt until" in page
    assert f"{len(NEW_FILMS)} new items got semantic IDs" in page
    assert re.search(r"NDCG@10 on the next items of \d+ users", page)


def test_the_manifest_says_what_the_model_comes_from(timed_shop: Shop, retrained: Bundle) -> None:
    before, after = timed_shop.bundle.manifest, retrained.manifest
    assert (after.retrained_from, after.retrainings, after.num_first_items) == (before.version, 1, before.num_items)
    assert before.learnt_until == "2023-11-21T23:32:20+00:00"
    assert before.learnt_until < after.learnt_until == "2023-11-23T23:32:20+00:00"
    assert (after.event_types, after.disliking_types) == (before.event_types, before.disliking_types)
    assert after.following_weight != before.following_weight  # fitted anew
    assert after.config == before.config


def test_popularity_counts_on(timed_shop: Shop, retrained: Bundle) -> None:
    log = pl.concat([pl.read_csv(one / "interactions.csv") for one in (timed_shop.first, timed_shop.events)])
    counts = dict(log.filter(pl.col("event_type") != "dislike")["item_id"].value_counts().iter_rows())
    expected = [counts.get(name, 0) for name in retrained.items["item_id"]]
    assert retrained.learned.popularity_R.tolist() == expected


def test_the_networks_go_on_from_the_weights_of_the_bundle(timed_shop: Shop, retrained: Bundle) -> None:
    before, after = (load_file(one.path / RETRIEVER_WEIGHTS) for one in (timed_shop.bundle, retrained))
    rows = len(timed_shop.bundle.items)
    for name in ("query.weight", "items.own.weight", "short_term.items.weight"):
        old, new = before[name], after[name][:rows] if name.endswith("items.weight") or "own" in name else after[name]
        moved = float((new - old).norm() / old.norm())
        assert 0 < moved < 1.2, name  # two independent matrices differ by 1.4


def test_current_names_the_new_bundle_and_the_old_one_stays(store: Path, timed_shop: Shop, retrained: Bundle) -> None:
    assert read_bundle(store / timed_shop.bundle.manifest.version).manifest == timed_shop.bundle.manifest
    assert retrained.path.parent == store.resolve()
    assert (store / "current").resolve() == retrained.path


@pytest.mark.parametrize("is_pruned", [False, True])
def test_a_repeated_training_leaves_the_retrained_bundle_current(
    timed_shop: Shop, retrained: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture, is_pruned: bool
) -> None:
    work = Path(shutil.copytree(timed_shop.bundles.parent, tmp_path / "work", symlinks=True))
    bundles, version = work / "bundles", retrained.manifest.version
    shutil.copytree(retrained.path, bundles / version)
    point_current(bundles, version)
    if is_pruned:
        shutil.rmtree(bundles / timed_shop.bundle.manifest.version)
    with open_workspace(work, tmp_path) as workspace, caplog.at_level("INFO"), no_search_graph():
        again = Run(workspace, small_settings(timed_shop.first, *SHORT)).bundle
    assert again.name == timed_shop.bundle.manifest.version
    assert current_version(bundles) == version
    assert f"the current bundle stays {version}, which was retrained from it" in caplog.text


def test_the_metrics_are_written_for_the_collector(store: Path) -> None:
    text = (store.parent / "retraining.prom").read_text(encoding="utf-8")
    assert 'rqrec_retraining_ending{ending="published"} 1.0' in text
    assert f"rqrec_retraining_new_interactions {USERS * (DAYS - FIRST_DAYS)}" in text
    assert re.search(r'^rqrec_retraining_ndcg\{model="retrained"\} 0\.\d+$', text, re.MULTILINE)


def test_the_verdict_is_kept_in_the_bundle(retrained: Bundle) -> None:
    metrics = retrained.manifest.metrics
    assert metrics["rqrec"]["ndcg@10"] > metrics["before_retraining"]["ndcg@10"] - 0.05
    assert metrics["retrained_minus_before"]["users"] >= 5


def test_without_newer_events_nothing_is_published_and_leftovers_are_removed(
    store: Path, timed_shop: Shop, retrained: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "rqrec")
    before = sorted(store.iterdir())
    left = store / f".{retrained.path.name}-0123abc_"  # by a retraining that was killed
    left.mkdir()
    assert retrain(store, timed_shop.events, timed_shop.first, work=tmp_path) == 0
    assert sorted(store.iterdir()) == before
    assert "there are no interactions after that time" in caplog.text


def test_single_events_of_new_users_are_kept_for_later(
    timed_shop: Shop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "rqrec")
    before = sorted(timed_shop.bundles.iterdir())
    rows = [(f"stranger {user}", "War 1", START + DAYS * DAY + user, "view") for user in range(5)]
    events = write(tmp_path / "events", rows, ["War 1"])
    assert retrain(timed_shop.bundles, events, work=tmp_path / "work") == 0
    assert sorted(timed_shop.bundles.iterdir()) == before
    assert "too few of the new interactions follow another one" in caplog.text


def test_a_worse_model_is_not_published(
    timed_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def spoil(model: torch.nn.Module, *_: object, **__: object) -> torch.nn.Module:
        with torch.no_grad():
            for weight in model.parameters():
                weight.copy_(torch.randn_like(weight))
        return model.eval().cpu()

    monkeypatch.setattr("rqrec.training.retrain.learn.continue_retriever", spoil)
    monkeypatch.setattr("rqrec.training.retrain.learn.continue_short_term", spoil)
    bundles = Path(shutil.copytree(timed_shop.bundles, tmp_path / "bundles", symlinks=True))
    before, prom = sorted(bundles.iterdir()), tmp_path / "retraining.prom"
    status = retrain(bundles, timed_shop.events, work=tmp_path / "work", more=("--metrics", str(prom)))
    assert status == 3
    assert sorted(bundles.iterdir()) == before
    assert read_bundle(bundles).manifest == timed_shop.bundle.manifest
    assert 'rqrec_retraining_ending{ending="worse"} 1.0' in prom.read_text(encoding="utf-8")
    assert "the retrained model is worse, so it is not published" in caplog.text
    assert "name the folder of the first training too" in caplog.text


def test_a_bundle_of_an_older_release_is_read_but_not_retrained(
    timed_shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = Path(shutil.copytree(timed_shop.bundle.path, tmp_path / "old"))
    manifest = json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))
    (bundle / FEATURES).unlink()
    fields = {name: value for name, value in manifest.items() if name not in ("has_features", "learnt_until")}
    seal_bundle(bundle, type(timed_shop.bundle.manifest)(**fields))
    assert read_bundle(bundle).manifest.learnt_until == ""
    assert retrain(bundle, timed_shop.events, work=tmp_path / "work") == 2
    assert "lacks the features of its items (features.npy)" in capsys.readouterr().err


def test_features_that_were_altered_are_refused(
    timed_shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = Path(shutil.copytree(timed_shop.bundle.path, tmp_path / "altered"))
    with (bundle / FEATURES).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"?")
    assert retrain(bundle, timed_shop.events, work=tmp_path / "work") == 2
    assert "features.npy" in capsys.readouterr().err


def new_films(folder: Path, names: list[str]) -> Path:
    """Events with films that the bundle does not have."""
    rows = [(f"u{user}", names[user % len(names)], START + DAYS * DAY + user, "view") for user in range(40)]
    return write(folder, rows, names)


def test_many_new_items_make_a_full_training_due(
    timed_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "rqrec")
    published: list[object] = []
    monkeypatch.setattr("rqrec.training.retrain.run.publish", lambda *arguments, **_: published.append(arguments))
    events = new_films(tmp_path / "events", [f"{GENRES[number % 4]} {number}" for number in range(100, 130)])
    assert retrain(timed_shop.bundles, events, timed_shop.first, work=tmp_path / "work") == 4
    assert "items newer than the tokenizer: 38.5%, at most 25.0% - a full training is due" in caplog.text
    assert len(published) == 1


def test_nothing_is_published_if_a_new_item_cannot_get_an_id(
    timed_shop: Shop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = sorted(timed_shop.bundles.iterdir())
    events = new_films(tmp_path / "events", [f"War {number}" for number in range(100, 130)])
    assert retrain(timed_shop.bundles, events, timed_shop.first, work=tmp_path / "work") == 4
    assert "more than 16 items have equal codes" in caplog.text
    assert sorted(timed_shop.bundles.iterdir()) == before


def test_the_recorded_settings_are_read_and_may_be_changed(timed_shop: Shop) -> None:
    settings = settings_of(timed_shop.bundle, ["RetrainSettings.epochs = 9"])
    assert (settings.decoder.epochs, settings.retrain.epochs) == (2, 9)


def test_a_retraining_that_was_interrupted_ends_as_an_uninterrupted_one(
    timed_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def candidate(work: Path) -> dict[str, torch.Tensor]:
        sources = str(timed_shop.events), str(timed_shop.first)
        with open_workspace(work, tmp_path) as workspace:
            run = Retraining(workspace, timed_shop.bundle, sources, settings_of(timed_shop.bundle))
            return load_retriever(run.candidate).state_dict()

    steps_left = iter(range(20))
    with monkeypatch.context() as patched, pytest.raises(TrainingInterrupted):
        patched.setattr("rqrec.training.runtime.loop.any_rank", lambda _: next(steps_left, None) is None)
        candidate(tmp_path / "work")
    assert [*(tmp_path / "work").glob("retrain_*-checkpoints/*/step-*")]
    resumed, whole = candidate(tmp_path / "work"), candidate(tmp_path / "another")
    assert all(torch.equal(resumed[name], weight) for name, weight in whole.items())
