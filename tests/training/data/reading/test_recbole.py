from pathlib import Path

import polars as pl
import pytest

from rqrec.training.data.dataset import DataError
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.sources import load_dataset

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\t007\t3\t9.5\nu\tb\t3\t8.5\n"
ITEM = (
    "item_id:token\tgenre:token_seq\tyear:float\tvec:float_seq\tzip:token\n"
    "007\tRed Hat\t1990\t.5 1\t01\n"
    "b\t\t\t2 3\t12\n"
)


def write(folder: Path, item: str = ITEM) -> Path:
    (folder / "x.inter").write_text(INTER)
    (folder / "x.item").write_text(item)
    return folder


def test_reads_the_types_of_the_header(tmp_path: Path) -> None:
    report = DataReport()
    dataset = load_dataset(str(write(tmp_path)), data_dir=tmp_path, report=report)
    assert dataset.items.rows() == [
        ("007", ["Red", "Hat"], 1990.0, [0.5, 1.0], "01"),
        ("b", None, None, [2.0, 3.0], "12"),
    ]
    assert dataset.items.schema["vec"] == pl.Array(pl.Float32, 2)
    assert dataset.interactions["item_index"].to_list() == [1, 0]
    assert "x.inter: column rating is not used, because all its values are 3" in report.lines


def test_the_item_file_may_be_missing(tmp_path: Path) -> None:
    (write(tmp_path) / "x.item").unlink()
    assert load_dataset(str(tmp_path), data_dir=tmp_path).items["item_id"].to_list() == ["007", "b"]


def test_a_mapping_names_other_columns(tmp_path: Path) -> None:
    write(tmp_path, ITEM.replace("item_id:", "artist_id:"))
    (tmp_path / "x.inter").write_text(INTER.replace("item_id:", "artist_id:"))
    settings = DatasetSettings(columns={"item_id": "artist_id"}, ignored_columns=("year",))
    dataset = load_dataset(str(tmp_path), data_dir=tmp_path, settings=settings)
    assert dataset.items.columns == ["item_id", "genre", "vec", "zip"]
    assert dataset.interactions["item_index"].to_list() == [1, 0]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("item_id:token\tyear:float\n007\tq\n", "x.item: column 'year' must hold numbers"),
        ("item_id:token\tyear:int\n007\t1\n", "x.item, line 1: column 'year' must have one of the types .*, got 'int'"),
    ],
)
def test_refuses_values_and_types_that_do_not_fit(tmp_path: Path, item: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(str(write(tmp_path, item)), data_dir=tmp_path)


def test_refuses_several_files_of_a_kind(tmp_path: Path) -> None:
    (write(tmp_path) / "y.inter").write_text(INTER)
    with pytest.raises(DataError, match=r"expected one .inter file .*, found \['x.inter', 'y.inter'\]: keep one"):
        load_dataset(str(tmp_path), data_dir=tmp_path)
