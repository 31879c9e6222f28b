"""The data of a retraining is read again when a file changed, or when the time of an event has come."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from rqrec.training.data.prepare import load_prepared
from rqrec.training.retrain.data import read_data
from rqrec.training.retrain.run import settings_of
from rqrec.training.runtime.workspace import open_workspace
from tests.training.retrain.conftest import DAY, DAYS, START, Shop, write

NOW = START + DAYS * DAY


def test_each_event_in_the_future_is_read_once_its_time_has_come(
    timed_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("u1", "War 1", NOW + seconds, "view") for seconds in (0, 100, 200)]
    source, parent, keys, counts = write(tmp_path / "events", rows, ["War 1"]), timed_shop.bundle, [], []
    for now_s in (NOW, NOW + 99, NOW + 100, NOW + 500, NOW + 600):
        monkeypatch.setattr("rqrec.training.retrain.data.time", SimpleNamespace(time=lambda now_s=now_s: now_s))
        with open_workspace(tmp_path / "work", tmp_path) as workspace:
            stage = read_data(workspace, parent, [str(source)], settings_of(parent).dataset)
        keys.append(stage.key)
        counts.append(len(load_prepared(stage).interactions))
    assert counts == [1, 1, 2, 3, 3]
    assert [key == before for before, key in pairwise(keys)] == [True, False, False, True]


def test_a_changed_file_is_read_with_the_time_of_now(
    timed_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, source = timed_shop.bundle, tmp_path / "events"
    write(source, [("u1", "War 1", NOW, "view")], ["War 1"])
    for more, now_s in ((0, NOW), (60, NOW + 60)):
        monkeypatch.setattr("rqrec.training.retrain.data.time", SimpleNamespace(time=lambda now_s=now_s: now_s))
        if more:
            with (source / "interactions.csv").open("a", encoding="utf-8") as file:
                file.write(f"u1,War 2,{NOW + more},view\n")
        with open_workspace(tmp_path / "work", tmp_path) as workspace:
            stage = read_data(workspace, parent, [str(source)], settings_of(parent).dataset)
    assert len(load_prepared(stage).interactions) == 2
