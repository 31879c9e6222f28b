from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from rqrec.training.data.dataset import DataError
from rqrec.training.data.sources import load_dataset

LOG = pl.DataFrame({"user_id": ["a", "a", "b", "b"], "item_id": ["1", "2", "2", "1"], "timestamp": [1, 2, 3, 4]})
ITEMS = pl.DataFrame({"item_id": ["1", "2"], "title": ["One", "Two"]})


@pytest.mark.parametrize("write", [pl.DataFrame.write_parquet, pl.DataFrame.write_csv, pl.DataFrame.write_ndjson])
@pytest.mark.parametrize("name", ["shop[1]", "shop*", "shop?"])
def test_the_signs_of_a_pattern_in_a_path_are_letters(
    tmp_path: Path, name: str, write: Callable[[pl.DataFrame, object], object]
) -> None:
    ending = {"write_parquet": "parquet", "write_csv": "csv", "write_ndjson": "jsonl"}[write.__name__]
    for folder, log in ((tmp_path / name, LOG), (tmp_path / "shop1", LOG.head(2))):
        folder.mkdir()
        for table, frame in (("interactions", log), ("items", ITEMS)):
            with (folder / f"{table}.{ending}").open("wb") as file:
                write(frame, file)
    dataset = load_dataset(str(tmp_path / name), data_dir=tmp_path)
    assert len(dataset.interactions) == 4
    assert dataset.items["title"].to_list() == ["One", "Two"]


def test_files_behind_links_are_read_and_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    shop, elsewhere = tmp_path / "shop", tmp_path / "elsewhere"
    (shop / "interactions").mkdir(parents=True)
    elsewhere.mkdir()
    LOG.head(1).write_csv(shop / "interactions" / "a.csv")
    LOG.tail(3).write_csv(elsewhere / "b.csv")
    (shop / "interactions" / "more").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(shop / "interactions")
    assert len(load_dataset(str(shop), data_dir=tmp_path).interactions) == 4
    (elsewhere / "c.csv").symlink_to(tmp_path / "not mounted.csv")
    with pytest.raises(DataError, match=r"c.csv is a link to .*not mounted.csv, which is missing: correct or remove"):
        load_dataset(str(shop), data_dir=tmp_path)
    (elsewhere / "c.csv").unlink()
    (shop / "items.csv").symlink_to(tmp_path / "not mounted.csv")
    with pytest.raises(DataError, match=r"items.csv is a link to"):
        load_dataset(str(shop), data_dir=tmp_path)
