"""The readers on real releases. MovieLens-100K is fetched; the others are read where this machine has them."""

import os
from pathlib import Path

import numpy as np
import pytest

from rqrec.training.data.dataset import Dataset
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.sources import load_dataset
from rqrec.training.data.splits import user_sequences
from rqrec.training.data.splitting.leave_one_out import leave_one_out

REPOSITORY = Path(__file__).parents[3]
RESEARCH_DATA = Path(os.environ.get("RESEARCH_DATA", REPOSITORY.parent / "shared" / "data"))


def counts(dataset: Dataset) -> tuple[int, int, int]:
    return dataset.num_users, len(dataset.items), len(dataset.interactions)


def research_folder(name: str) -> str:
    folder = RESEARCH_DATA / name
    if not folder.is_dir():
        pytest.skip(f"needs {folder}, which may not be redistributed; set RESEARCH_DATA to where it lies")
    return str(folder)


def test_movielens_100k_without_ratings() -> None:
    ignored = DatasetSettings(ratings="ignore")
    dataset = load_dataset("ml-100k", data_dir=REPOSITORY / "artifacts" / "data", settings=ignored)
    assert counts(dataset) == (943, 1682, 100_000)
    toy_story = dataset.items.row(0, named=True)
    assert toy_story == {
        "item_id": "1",
        "title": "Toy Story",
        "year": 1995,
        "genres": ["Animation", "Children's", "Comedy"],
    }
    split = leave_one_out(user_sequences(dataset))
    assert len(split.test) == 943
    assert len(split.train.items_I) == 100_000 - 2 * 943


def test_the_ratings_of_movielens_100k() -> None:
    dataset = load_dataset("ml-100k", data_dir=REPOSITORY / "artifacts" / "data")
    assert counts(dataset) == (943, 1682, 100_000)
    assert dataset.event_types == ("disliked", "liked", "neutral")
    assert np.bincount(dataset.interactions["type"]).tolist() == [0, 17_480, 55_375, 27_145]
    assert (dataset.interactions["weight"] == (dataset.interactions["type"] != 1)).all()
    assert len(leave_one_out(user_sequences(dataset)).test) == 943


def test_movielens_latest_small(tmp_path: Path) -> None:
    dataset = load_dataset(research_folder("ml-latest-small"), data_dir=tmp_path)
    assert counts(dataset) == (610, 9742, 100_836)
    assert dataset.items.row(0) == ("1", "Toy Story", 1995, ["Adventure", "Animation", "Children", "Comedy", "Fantasy"])


def test_amazon_beauty(tmp_path: Path) -> None:
    dataset = load_dataset(research_folder("beauty"), data_dir=tmp_path)
    assert counts(dataset) == (22_363, 12_101, 198_502)
    sequences = user_sequences(dataset)
    assert dataset.items["item_id"].gather(sequences[0].tolist()).to_list() == ["1", "2", "3", "4", "5"]
    split = leave_one_out(sequences)
    assert len(split.test) == 22_363
    trained_on = set(split.train.items_I.tolist())
    assert sum(target not in trained_on for target in split.test.targets_U.tolist()) == 138
