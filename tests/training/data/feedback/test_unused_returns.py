from pathlib import Path

import polars as pl
import pytest

from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.sources import load_dataset


def warnings_of(folder: Path, columns: str, settings: DatasetSettings | None = None) -> list[str]:
    """Warnings about a log of three rows; `columns` has the header and the three values of each other column."""
    texts = [column.split(",") for column in columns.split("|")]
    rows = [("user_id", "item_id", "timestamp"), ("u", "a", "1"), ("u", "b", "2"), ("v", "a", "3")]
    lines = [";".join((*row, *values)) for row, values in zip(rows, zip(*texts, strict=True), strict=True)]
    (folder / "interactions.csv").write_text("\n".join(lines))
    report = DataReport()
    load_dataset(str(folder), data_dir=folder, settings=settings, report=report)
    return [line for line in report.lines if line.startswith("WARNING")]


def test_warns_of_negative_numbers_that_may_be_returns(tmp_path: Path) -> None:
    (warning,) = warnings_of(tmp_path, "Preis,9,8,7|Menge,1,-1,2")
    assert warning == (
        "WARNING: interactions.csv: no column is read as rating, but 'Menge' has 1 negative values: if these are "
        "returns, make them dislikes by --set \"DatasetSettings.columns={'rating': 'Menge'}\""
    )
    settings = DatasetSettings(columns={"rating": "Menge"})
    assert warnings_of(tmp_path, "Preis,9,8,7|Menge,1,-1,2", settings) == []


@pytest.mark.parametrize(
    "column", ["Menge,1,0,", "Menge,-1,-2,3", "latitude,1,-2,3", "note,-1,x,2", "note,,,", "*,1,x,"]
)
def test_other_columns_are_no_returns(tmp_path: Path, column: str) -> None:
    assert warnings_of(tmp_path, column) == []


def test_a_column_may_have_any_name_and_type(tmp_path: Path) -> None:
    log = pl.DataFrame({"user_id": ["u"] * 3, "item_id": ["a", "b", "a"], "timestamp": [1, 2, 3], "^x$": [1, -1, 2]})
    lists = pl.Series("basket", [[{"n": -1}], [{"n": 1}, {"n": 2}], []])
    log.with_columns(lists).write_parquet(tmp_path / "interactions.parquet")
    report = DataReport()
    load_dataset(str(tmp_path), data_dir=tmp_path, report=report)
    assert [line for line in report.lines if "'^x$' has 1 negative values" in line]


def test_recbole_files_are_looked_at_as_well(tmp_path: Path) -> None:
    rows = "u\ta\t1\t1\nu\tb\t2\t-1\nv\ta\t3\t1\n"
    (tmp_path / "shop.inter").write_text(f"user_id:token\titem_id:token\ttimestamp:float\tamount:float\n{rows}")
    report = DataReport()
    load_dataset(str(tmp_path), data_dir=tmp_path, report=report)
    assert [line for line in report.lines if "'amount' has 1 negative values" in line]
