from pathlib import Path

import numpy as np

from benchmarks.cold_start import hold_out, measure
from rqrec.training.data.sources import load_dataset
from rqrec.training.data.splits import user_sequences
from rqrec.training.runtime.workspace import Workspace
from tests.conftest import small_settings


def test_new_items_are_found_by_their_content(shop: Path, tmp_path: Path) -> None:
    dataset = load_dataset(str(shop), data_dir=tmp_path)
    data = hold_out(dataset, 0.1, seed=0)
    assert data.num_warm == 58
    assert user_sequences(data.dataset).items_I.max() < 58
    assert (data.questions.targets_U >= 58).all()
    assert (data.questions.histories.items_I < 58).all()
    assert len(data.questions) > 0
    # An item keeps its attributes under its new number.
    names = dict(zip(dataset.items["item_id"], dataset.items["title"], strict=True))
    assert all(names[item] == title for item, title in data.dataset.items.select("item_id", "title").iter_rows())
    found = measure(data, Workspace(tmp_path / "work", tmp_path), small_settings(shop))
    assert {"RQRec", "content-kNN", "RQRec, new items only", "RQRec, other users"} <= found.keys()
    assert found["RQRec, 2 of 20 places reserved"]["recall@20"] >= found["RQRec"]["recall@20"]
    assert found["RQRec, new items only"]["recall@20"] == 1.0  # there are six
    assert all(np.isfinite(value) for row in found.values() for value in row.values())
