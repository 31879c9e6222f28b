"""The division of the input into slices, each of which becomes one file of lists."""

from pathlib import Path

import polars as pl
import pytest

from rqrec.service.bulk.source import parquet_files, slices_of


def test_long_histories_and_exclusions_make_a_slice_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rqrec.service.bulk.source.MOST_ITEMS", 3000)
    users = pl.DataFrame({"user_id": range(2500), "history": [["1"] * 3] * 2500, "exclude": [["2"], None] * 1250})
    users.head(1000).drop("exclude").with_columns(history=[]).write_parquet(tmp_path / "1.parquet")
    users.write_parquet(tmp_path / "2.parquet")
    slices = slices_of(parquet_files(tmp_path))
    assert [(one.number, one.file.path.name, one.first_row, one.num_rows) for one in slices] == [
        (0, "1.parquet", 0, 1000),
        (1, "2.parquet", 0, 857),  # 3000 items at 3.5 items a user
        (2, "2.parquet", 857, 857),
        (3, "2.parquet", 1714, 786),
    ]
