"""Slices of time: every interaction is in one, and an item is known from the slice on in which it is first chosen."""

from pathlib import Path

import polars as pl

from benchmarks.retraining.slices import Slices


def test_slices_are_cut_by_time_and_bring_their_items(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    rows = [("u", f"i{number // 2}", 1_700_000_000 - number) for number in range(10)]  # the latest first
    pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row").write_csv(source / "interactions.csv")
    pl.DataFrame({"item_id": [f"i{number}" for number in range(6)]}).write_csv(source / "items.csv")
    slices = Slices(str(source), tmp_path, 5)
    first, rest = slices.write(tmp_path / "first", 0, 2), slices.write(tmp_path / "rest", 2, 5)
    assert pl.read_parquet(first / "interactions.parquet")["item_id"].to_list() == ["i4", "i4", "i3", "i3"]
    assert pl.read_parquet(rest / "interactions.parquet")["item_id"].to_list() == ["i2", "i2", "i1", "i1", "i0", "i0"]
    assert pl.read_parquet(first / "items.parquet")["item_id"].to_list() == ["i3", "i4"]
    assert pl.read_parquet(rest / "items.parquet")["item_id"].to_list() == ["i0", "i1", "i2", "i3", "i4"]
