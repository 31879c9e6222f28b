from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from rqrec.training.data.dataset import DataError
from rqrec.training.data.sources import load_dataset
from rqrec.training.data.tables import read_tables

INTERACTIONS = pl.DataFrame({"user_id": [7, 7], "item_id": [2, 1], "timestamp": [5, 9], "rating": [1.0, 5.0]})
WRITERS: dict[str, Callable[[pl.DataFrame, Path], None]] = {
    "parquet": lambda frame, path: frame.write_parquet(path),
    "csv": lambda frame, path: frame.write_csv(path),
    "jsonl": lambda frame, path: frame.write_ndjson(path),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_reads_every_format(tmp_path: Path, suffix: str) -> None:
    WRITERS[suffix](INTERACTIONS, tmp_path / f"interactions.{suffix}")
    WRITERS[suffix](pl.DataFrame({"item_id": [1, 2], "price": [9.5, None]}), tmp_path / f"items.{suffix}")
    dataset = load_dataset(str(tmp_path), data_dir=tmp_path)
    assert dataset.items.rows() == [("1", 9.5), ("2", None)]
    assert dataset.interactions["item_index"].to_list() == [1, 0]


def test_lists_of_numbers_become_vectors_and_bracketed_columns_lists(tmp_path: Path) -> None:
    INTERACTIONS.write_csv(tmp_path / "interactions.csv")
    pl.DataFrame({"item_id": [1, 2], "image": [[0.5, 1.0], None]}).write_ndjson(tmp_path / "items.jsonl")
    _, items = read_tables(tmp_path)
    assert items.schema["image"] == pl.Array(pl.Float32, 2)
    (tmp_path / "items.jsonl").unlink()
    (tmp_path / "items.csv").write_text("item_id,genres[]\n1,Drama|War\n2,\n")
    _, items = read_tables(tmp_path)
    assert items["genres"].to_list() == [["Drama", "War"], None]


def test_refuses_vectors_of_unequal_length(tmp_path: Path) -> None:
    INTERACTIONS.write_csv(tmp_path / "interactions.csv")
    pl.DataFrame({"item_id": [1, 2], "image": [[0.5], [1.0, 2.0]]}).write_ndjson(tmp_path / "items.jsonl")
    with pytest.raises(DataError, match="vectors in column 'image' .* must have the same length"):
        read_tables(tmp_path)


def test_refuses_a_table_that_is_missing_or_there_twice(tmp_path: Path) -> None:
    INTERACTIONS.write_csv(tmp_path / "interactions.csv")
    with pytest.raises(
        DataError, match=r"expected one of \['items.parquet', 'items.csv', 'items.jsonl'\] .*found \[\]"
    ):
        read_tables(tmp_path)
    INTERACTIONS.write_parquet(tmp_path / "interactions.parquet")
    with pytest.raises(DataError, match=r"found \['interactions.parquet', 'interactions.csv'\]"):
        read_tables(tmp_path)


def test_refuses_a_missing_column(tmp_path: Path) -> None:
    INTERACTIONS.drop("timestamp").write_csv(tmp_path / "interactions.csv")
    pl.DataFrame({"item_id": [1, 2]}).write_csv(tmp_path / "items.csv")
    with pytest.raises(DataError, match=r"but \['timestamp'\] are missing"):
        read_tables(tmp_path)


def test_refuses_a_file_that_is_not_what_its_name_says(tmp_path: Path) -> None:
    INTERACTIONS.write_csv(tmp_path / "interactions.csv")
    (tmp_path / "items.parquet").write_text("not parquet")
    with pytest.raises(DataError, match="cannot read"):
        read_tables(tmp_path)


def test_a_source_that_is_neither_release_nor_folder_lists_what_is_possible(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the data set must be one of ml-100k, .* or a folder, got 'ml-2k'"):
        load_dataset("ml-2k", data_dir=tmp_path)


def test_a_folder_in_no_known_layout_lists_the_layouts(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must hold one of \['movies.csv', "):
        load_dataset(str(tmp_path), data_dir=tmp_path)
