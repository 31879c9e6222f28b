import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.support.accuracy.user_ranks import (
    DAYS,
    HISTORY,
    TARGET_ACTIONS,
    compare_ranks,
    describe_users,
    rank_table,
    read_ranks,
)
from rqrec.training.data.dataset import DataError
from rqrec.training.data.sources import load_dataset

# User 10 is too short to be asked about. Their ids are sorted as texts: 10, 2, 7.
SEQUENCES = "2 a b c d\n10 a b\n7 d c b a c\n"
GAPS = "2 0 3 0 9\n10 0 1\n7 0 0 0 2 0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Toys.txt").write_text(SEQUENCES)
    (tmp_path / "items.jsonl").write_text("".join(json.dumps({"item_id": item}) + "\n" for item in "abcd"))
    return tmp_path


def test_ranks_are_read_as_they_were_written(folder: Path) -> None:
    dataset = load_dataset(str(folder), data_dir=folder)
    ranks = rank_table(dataset, np.array([1.0, np.inf]), np.array([np.inf, 20.0]))
    ranks.write_csv(folder / "ranks.csv")
    assert (folder / "ranks.csv").read_text() == "user_id,validation_rank,test_rank\n2,1,\n7,,20\n"
    assert read_ranks(folder / "ranks.csv").equals(ranks)


def test_a_file_without_ranks_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="'validation_rank', 'test_rank'. are missing"):
        read_ranks(folder / "Toys.txt")
    with pytest.raises(DataError, match="must be a CSV file of ranks"):
        read_ranks(folder / "none.csv")


def test_users_are_described_by_what_makes_their_test_item_hard(folder: Path) -> None:
    (folder / "Toys_day_gaps.txt").write_text(GAPS)
    users = describe_users(load_dataset(str(folder), data_dir=folder), folder)
    # Trained on: a b of user 2, a b of user 10, d c b of user 7. The test items are d and c.
    assert users.to_dicts() == [
        {"user_id": "2", TARGET_ACTIONS: 1, HISTORY: 3, DAYS: 9},
        {"user_id": "7", TARGET_ACTIONS: 1, HISTORY: 4, DAYS: 0},
    ]


def test_days_come_from_real_times_as_well(tmp_path: Path) -> None:
    day = 86_400
    times = [1_700_000_000 + day * number for number in (0, 0, 1, 5)]
    log = pl.DataFrame({"user_id": ["u"] * 4 + ["v"] * 4, "item_id": [*"abcd"] * 2, "timestamp": times * 2})
    log.write_csv(tmp_path / "interactions.csv")
    users = describe_users(load_dataset(str(tmp_path), data_dir=tmp_path), tmp_path)
    assert users[DAYS].to_list() == [4, 4]


def test_a_data_set_without_times_is_compared_without_days(folder: Path) -> None:
    assert DAYS not in describe_users(load_dataset(str(folder), data_dir=folder), folder).columns


def test_two_models_are_compared_in_groups_of_users() -> None:
    own = pl.DataFrame({"user_id": ["1", "2", "3"], "validation_rank": [1, 1, 1], "test_rank": [1, None, 3]})
    other = own.with_columns(test_rank=pl.Series([1, 1, 11]))
    users = pl.DataFrame({"user_id": ["1", "2", "3"], TARGET_ACTIONS: [0, 3, 60], HISTORY: [3, 9, 9]})
    table = compare_ranks(own, other, users)
    rows = dict(
        zip(table.columns[0].cells, zip(*(column.cells for column in table.columns[1:]), strict=True), strict=True)
    )
    assert rows["all"] == ("3", "0.6667", "0.6667", "0.5000", "0.6667", "0.3333", "0.3333", "0.3333")
    assert rows[f"{TARGET_ACTIONS}: 0"][0] == "1"
    assert rows[f"{TARGET_ACTIONS}: 50 and more"][5:] == ("0.0000", "1.0000", "0.0000")
    assert rows[f"{HISTORY}: 8 to 11"][:3] == ("2", "0.5000", "0.5000")
    assert not any(str(name).startswith(DAYS) for name in rows)


def test_models_of_other_users_are_not_compared() -> None:
    own = pl.DataFrame({"user_id": ["1", "2"], "validation_rank": [1, 1], "test_rank": [1, 1]})
    users = pl.DataFrame({"user_id": ["1", "2"], TARGET_ACTIONS: [0, 3], HISTORY: [3, 9]})
    with pytest.raises(DataError, match="but 1 of 2 are missing"):
        compare_ranks(own, own.head(1), users)
