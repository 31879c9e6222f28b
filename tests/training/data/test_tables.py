import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rqrec.training.data.dataset import DataError
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.sources import load_dataset

INTERACTIONS = pl.DataFrame({"user_id": [7, 7], "item_id": [2, 1], "timestamp": [5, 9], "rating": [1.0, 5.0]})
WRITERS: dict[str, Callable[[pl.DataFrame, Path], None]] = {
    "parquet": lambda frame, path: frame.write_parquet(path),
    "csv": lambda frame, path: frame.write_csv(path),
    "jsonl": lambda frame, path: frame.write_ndjson(path),
}


def read_items(folder: Path, **settings: Any) -> pl.DataFrame:
    return load_dataset(str(folder), data_dir=folder, settings=DatasetSettings(**settings)).items


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
    items = read_items(tmp_path)
    assert items.schema["image"] == pl.Array(pl.Float32, 2)
    (tmp_path / "items.jsonl").unlink()
    (tmp_path / "items.csv").write_text("item_id,genres[]\n1,Drama|War\n2,\n")
    items = read_items(tmp_path)
    assert items["genres"].to_list() == [["Drama", "War"], None]


@pytest.mark.parametrize("array", [False, True])
def test_many_columns_of_json_have_the_same_order_in_every_process(tmp_path: Path, array: bool) -> None:
    INTERACTIONS.write_csv(tmp_path / "interactions.csv")
    lines = [json.dumps({"item_id": item, **{f"x{n:02}": n + item for n in range(40)}}) for item in (1, 2)]
    text = f"[{','.join(lines)}]" if array else "\n".join(lines)
    (tmp_path / "items.json").write_text(text)
    assert read_items(tmp_path).columns == ["item_id", *(f"x{n:02}" for n in range(40))]


def test_refuses_vectors_of_unequal_length(tmp_path: Path) -> None:
    INTERACTIONS.write_csv(tmp_path / "interactions.csv")
    pl.DataFrame({"item_id": [1, 2], "image": [[0.5], [1.0, 2.0]]}).write_ndjson(tmp_path / "items.jsonl")
    with pytest.raises(DataError, match="vectors in column 'image' must have the same length"):
        read_items(tmp_path)


def test_refuses_to_mix_two_lists_of_objects(tmp_path: Path) -> None:
    event = {"user_id": "u", "its": [{"id": "a"}, {"id": "b"}], "sc": [{"v": 1}, {"v": 2}]}
    (tmp_path / "interactions.jsonl").write_text(json.dumps(event))
    with pytest.raises(DataError, match=r"must read fields of one list of objects, but reads .* \['its', 'sc'\]"):
        read_items(tmp_path, columns={"item_id": "its.id", "rating": "sc.v"})


def test_refuses_a_table_that_is_there_twice(tmp_path: Path) -> None:
    INTERACTIONS.write_csv(tmp_path / "interactions.csv")
    INTERACTIONS.write_parquet(tmp_path / "interactions.parquet")
    with pytest.raises(DataError, match=r"found \['interactions.csv', 'interactions.parquet'\]: keep one"):
        read_items(tmp_path)


def test_refuses_a_missing_column(tmp_path: Path) -> None:
    INTERACTIONS.drop("item_id").write_csv(tmp_path / "interactions.csv")
    pl.DataFrame({"item_id": [1, 2]}).write_csv(tmp_path / "items.csv")
    with pytest.raises(DataError, match=r"interactions.csv must have a column item_id, .*columns=\{'item_id': '…'\}"):
        read_items(tmp_path)
    INTERACTIONS.write_csv(tmp_path / "interactions.csv")
    pl.DataFrame({"sku": [1, 2]}).write_csv(tmp_path / "items.csv")
    with pytest.raises(DataError, match=r"items.csv must have a column item_id, .*columns=\{'items.item_id': '…'\}"):
        read_items(tmp_path)


def test_refuses_a_file_that_is_not_what_its_name_says(tmp_path: Path) -> None:
    INTERACTIONS.write_csv(tmp_path / "interactions.csv")
    (tmp_path / "items.parquet").write_text("not parquet")
    with pytest.raises(DataError, match="cannot read"):
        read_items(tmp_path)


def test_a_mapping_for_a_layout_with_fixed_names_is_refused(tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n")
    settings = DatasetSettings(columns={"item_id": "movieId"})
    with pytest.raises(DataError, match="ratings.csv and movies.csv .* have fixed names of columns: remove"):
        load_dataset(str(tmp_path), data_dir=tmp_path, settings=settings)


def test_a_source_that_is_neither_release_nor_folder_lists_what_is_possible(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="DATASET must be one of ml-100k, .* or a folder, got 'ml-2k'"):
        load_dataset("ml-2k", data_dir=tmp_path)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = str(tmp_path / "shop")
    with pytest.raises(DataError, match=f"got '{missing}', but there is no such folder: correct the path"):
        load_dataset(missing, data_dir=tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=f"got './shop', but there is no such folder in {tmp_path}: correct the path"):
        load_dataset("./shop", data_dir=tmp_path)


def test_instead_of_a_file_its_folder_is_to_be_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop").mkdir()
    INTERACTIONS.write_csv(tmp_path / "shop" / "interactions.csv")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="got the file 'shop/interactions.csv': pass its folder 'shop'"):
        load_dataset("shop/interactions.csv", data_dir=tmp_path)


def test_a_folder_in_no_known_layout_lists_the_layouts(tmp_path: Path) -> None:
    (tmp_path / "Clicks.csv").write_text("a,b")
    with pytest.raises(DataError, match=r"must hold one of \['interactions.\*', .*, but holds \['Clicks.csv'\]: set"):
        load_dataset(str(tmp_path), data_dir=tmp_path)
