from pathlib import Path

import polars as pl

from rqrec.training.data.columns import Column, interaction_columns, read_columns, write_columns
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.sources import load_dataset


def test_a_column_is_described_by_its_values() -> None:
    column = Column.from_values("items", pl.Series("price", [2.0, 2.0, 3.0, None, float("nan")]), "number", "numbers")
    assert (column.distinct, column.distinct_share, column.missing_share) == (2, 2 / 3, 0.4)
    assert column.example == "2.0"


def test_the_words_of_lists_are_counted() -> None:
    column = Column.from_values("items", pl.Series("genres", [["a", "b"], ["a"], [], None]), "labels", "lists of words")
    assert (column.distinct, column.distinct_share, column.missing_share) == (2, 2 / 3, 0.25)


def test_an_example_is_short_and_on_one_line() -> None:
    assert Column.from_values("items", pl.Series(["a\nb " * 99]), "text", "").example.startswith("a b a b")
    assert Column.from_values("items", pl.Series([["x", "y"]]), "labels", "").example == "['x', 'y']"
    assert Column.from_values("items", pl.Series([], dtype=pl.String), "labels", "").example == ""


def test_interactions_show_the_columns_of_the_file() -> None:
    rows = pl.DataFrame({"user_id": ["u", "u"], "item_id": ["a", "b"]})
    columns = interaction_columns(rows, {"user_id": "CustomerID", "item_id": "item_id"}, ["CustomerID", "item_id", "n"])
    assert [(column.name, column.use) for column in columns] == [
        ("CustomerID", "user_id"),
        ("item_id", "item_id"),
        ("n", "not used"),
    ]


def test_columns_are_the_same_after_writing(tmp_path: Path) -> None:
    columns = [Column("items", "x", "not used", "why"), Column("items", "y", "text", "why", 3, 0.5, 0.1, "a")]
    write_columns(columns, tmp_path)
    assert read_columns(tmp_path) == columns


def described(folder: Path, **settings: object) -> dict[tuple[str, str], str]:
    report = DataReport()
    load_dataset(str(folder), data_dir=folder, settings=DatasetSettings(str(folder), **settings), report=report)  # type: ignore[arg-type]
    return {(column.table, column.name): column.use for column in report.columns}


def test_reading_describes_interactions_and_what_it_does_not_read_of_the_items(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text("user_id,asin,timestamp,device\nu,a,1,x\nu,b,2,y\n")
    (tmp_path / "items.csv").write_text(",item_id,title,spare\n0,a,A,1\n1,b,B,2\n")
    assert described(tmp_path, ignored_columns=("spare",)) == {
        ("interactions", "user_id"): "user_id",
        ("interactions", "asin"): "item_id",
        ("interactions", "timestamp"): "timestamp",
        ("interactions", "device"): "not used",
        ("items", ""): "not used",
        ("items", "spare"): "not used",
    }


def test_layouts_with_fixed_names_are_described_as_well(tmp_path: Path) -> None:
    (tmp_path / "toy.txt").write_text("u a b\n")
    (tmp_path / "items.jsonl").write_text('{"item_id": "a"}\n{"item_id": "b"}\n')
    assert described(tmp_path) == {("interactions", name): name for name in ("user_id", "item_id", "timestamp")}
