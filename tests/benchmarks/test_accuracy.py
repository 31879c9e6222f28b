import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy import run, shuffle_ties
from benchmarks.support.accuracy.bsarec import BsaRecSettings
from benchmarks.support.accuracy.judge import Rivals
from benchmarks.support.accuracy.sasrec import SasRecSettings
from benchmarks.support.accuracy.user_ranks import read_ranks
from rqrec.training.data.sources import load_dataset
from rqrec.training.data.splitting.time_unit import SECONDS_A_DAY, whole_seconds
from tests.conftest import SMALL_CONFIG

RIVALS = Rivals(SasRecSettings(epochs=2, width=8), BsaRecSettings(epochs=2, width=8))
SHORT = (*SMALL_CONFIG, "DecoderSettings.epochs = 2")


def test_a_short_run_compares_every_model(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(str(shop), ("file", "shuffled"), SHORT, RIVALS, tmp_path, seeds=(0, 1))
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(last) == {"recall@10", "ndcg@10", "sasrec_recall@10", "bsarec_ndcg@10", "seeds"}
    assert last["seeds"] == 2
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results) == ["file"]  # the shop's times are exact
    models, spreads, intervals = (results["file"][name] for name in ("models", "spreads", "intervals"))
    assert set(models) == {"popularity", "item-kNN", "content-kNN", "transitions", "SASRec", "BSARec", "RQRec"}
    assert models["RQRec"]["recall@10"] == last["recall@10"]
    assert models["RQRec"]["training_seconds"] > 0
    for name, row in models.items():
        low, high = intervals[name]["recall@10"]
        assert low <= row["recall@10"] <= high
    assert set(spreads) == {"SASRec", "RQRec"}
    assert set(intervals["RQRec - SASRec"]) == set(intervals["RQRec - BSARec"]) == {"recall@10", "ndcg@10"}


def test_the_ranks_of_a_run_can_be_compared_with_it(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rivals = replace(RIVALS, bsarec_seeds=0)
    run(str(shop), ("file",), SHORT, rivals, tmp_path, seeds=(0,))
    against = read_ranks(tmp_path / "ranks_file_sasrec.csv")
    assert len(against) == 160
    capsys.readouterr()
    run(str(shop), ("file",), SHORT, rivals, tmp_path, seeds=(0,), against=against)
    assert "training actions of the target: " in capsys.readouterr().out


def test_a_split_by_time_is_judged_as_well(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    by_time = (*SHORT, "SplitSettings.kind = 'time'", "SplitSettings.test_from = 0.8")
    run(str(shop), ("file",), by_time, replace(RIVALS, bsarec_seeds=0), tmp_path, seeds=(0,))
    assert "period_recall@10" in capsys.readouterr().out
    assert not list(tmp_path.glob("ranks*"))


def test_the_shuffled_order_needs_days(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs the days of .* use --order file"):
        run(str(shop), ("shuffled",), SHORT, RIVALS, tmp_path)


def test_shuffled_ties_keep_the_days(tmp_path: Path) -> None:
    folder = tmp_path / "toys"
    folder.mkdir()
    (folder / "items.jsonl").write_text("".join(json.dumps({"item_id": i}) + "\n" for i in range(9)))
    (folder / "Toys.txt").write_text("1 0 1 2 3 4 5 6 7 8\n")
    assert shuffle_ties(folder, tmp_path / "tables") is None
    (folder / "Toys_day_gaps.txt").write_text("1 0 0 0 0 0 0 0 0 1\n")
    tables = shuffle_ties(folder, tmp_path / "tables")
    interactions = load_dataset(str(tables), data_dir=tmp_path).interactions
    seconds_I = whole_seconds(interactions["timestamp"].to_numpy())
    assert seconds_I is not None
    assert np.diff(seconds_I).tolist() == [0] * 7 + [SECONDS_A_DAY]
    order = interactions["item_index"].to_list()
    assert order[-1] == 8
    assert order != sorted(order)
    assert sorted(order) == list(range(9))
