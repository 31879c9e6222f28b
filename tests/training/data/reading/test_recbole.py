from pathlib import Path
from typing import Any

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
        ("item_id:token\tyear:float\n007\tq\n", "x.item, data row 1: column 'year' must hold numbers, got 'q'"),
        (
            "item_id:token\tvec:float_seq\n007\t1 2\nb\t1 $5\n",
            r"x.item, data row 2: .*'vec' must hold numbers, got '1 \$5'",
        ),
        ("item_id:token\tprice:float\tprice:token\n007\t1\t2\n", "x.item, line 1: column 'price' is there twice"),
        ("item_id:token\tyear:int\n007\t1\n", "x.item, line 1: column 'year' must have one of the types .*, got 'int'"),
    ],
)
def test_refuses_values_and_types_that_do_not_fit(tmp_path: Path, item: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(str(write(tmp_path, item)), data_dir=tmp_path)


def test_refuses_an_interactions_column_that_is_there_twice(tmp_path: Path) -> None:
    (write(tmp_path) / "x.inter").write_text("user_id:token\titem_id:token\tuser_id:float\nu\t007\t3\n")
    with pytest.raises(DataError, match="x.inter, line 1: column 'user_id' is there twice"):
        load_dataset(str(tmp_path), data_dir=tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ignored_columns": ("yaer",)}, r"x.item must have the columns .*, but \['yaer'\] are missing: it has"),
        ({"columns": {"items.item_id": "zip"}}, "reads item_id from 'zip', but there is a column 'item_id' as well"),
    ],
)
def test_refuses_settings_that_do_not_fit_the_columns(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_dataset(str(write(tmp_path)), data_dir=tmp_path, settings=DatasetSettings(**settings))


def test_empty_lines_are_skipped_and_this_is_said(tmp_path: Path) -> None:
    write(tmp_path, ITEM + "\n")
    (tmp_path / "x.inter").write_text(INTER + "\n")
    report = DataReport()
    dataset = load_dataset(str(tmp_path), data_dir=tmp_path, report=report)
    assert (len(dataset.items), len(dataset.interactions)) == (2, 2)
    for name in ("x.inter", "x.item"):
        assert f"{name}: 1 lines without a value in the columns that are read are skipped" in report.lines


def test_several_spaces_separate_values_as_one_does(tmp_path: Path) -> None:
    items = "item_id:token\tgenre:token_seq\tvec:float_seq\n007\tx  y \t1  2\nb\ty\t3 4 \n"
    dataset = load_dataset(str(write(tmp_path, items)), data_dir=tmp_path)
    assert dataset.items.rows() == [("007", ["x", "y"], [1.0, 2.0]), ("b", ["y"], [3.0, 4.0])]


def test_suffixes_may_be_in_upper_case(tmp_path: Path) -> None:
    (tmp_path / "X.INTER").write_text(INTER)
    (tmp_path / "X.ITEM").write_text(ITEM)
    assert load_dataset(str(tmp_path), data_dir=tmp_path).items.columns == ["item_id", "genre", "year", "vec", "zip"]


def test_refuses_several_files_of_a_kind(tmp_path: Path) -> None:
    (write(tmp_path) / "y.inter").write_text(INTER)
    with pytest.raises(DataError, match=r"expected one .inter file .*, found \['x.inter', 'y.inter'\]: keep one"):
        load_dataset(str(tmp_path), data_dir=tmp_path)
