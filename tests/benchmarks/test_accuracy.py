import json
from pathlib import Path

import pytest

from benchmarks.accuracy import DIFFERENCE, run, shuffle_ties
from rqrec.training.data.sources import load_dataset
from tests.conftest import SMALL_CONFIG


def test_a_short_run_compares_every_model(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(str(shop), ("file", "shuffled"), SMALL_CONFIG, 2, tmp_path)
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(last) == {"recall@10", "ndcg@10", "sasrec_recall@10"}
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results) == ["file"]  # the shop's times are exact
    models = results["file"]["models"]
    assert set(models) == {"popularity", "item-kNN", "content-kNN", "transitions", "SASRec", "RQRec"}
    assert models["RQRec"]["recall@10"] == last["recall@10"]
    assert models["RQRec"]["training_seconds"] > 0
    for name, row in models.items():
        low, high = results["file"]["intervals"][name]["recall@10"]
        assert low <= row["recall@10"] <= high
    assert set(results["file"]["intervals"][DIFFERENCE]) == {"recall@10", "ndcg@10"}


def test_the_shuffled_order_needs_days(shop: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs the days of .* use --order file"):
        run(str(shop), ("shuffled",), SMALL_CONFIG, 2, tmp_path)


def test_shuffled_ties_keep_the_days(tmp_path: Path) -> None:
    folder = tmp_path / "toys"
    folder.mkdir()
    (folder / "items.jsonl").write_text("".join(json.dumps({"item_id": i}) + "\n" for i in range(9)))
    (folder / "Toys.txt").write_text("1 0 1 2 3 4 5 6 7 8\n")
    assert shuffle_ties(folder, tmp_path / "tables") is None
    (folder / "Toys_day_gaps.txt").write_text("1 0 0 0 0 0 0 0 0 1\n")
    tables = shuffle_ties(folder, tmp_path / "tables")
    order = load_dataset(str(tables), data_dir=tmp_path).interactions["item_index"].to_list()
    assert order[-1] == 8
    assert order != sorted(order)
    assert sorted(order) == list(range(9))
