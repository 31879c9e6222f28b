import logging
from pathlib import Path

import pytest

from rqrec.training.data.prepare import REPORT, load_prepared, prepare_data
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.runtime.workspace import open_workspace

SHOP = "user_id,item_id\n" + "".join(
    f"{user},{item}\n" for user, count in (("u", 5), ("v", 2)) for item in range(count)
)


def write(folder: Path, log: str = SHOP) -> DatasetSettings:
    folder.mkdir()
    (folder / "interactions.csv").write_text(log)
    return DatasetSettings(source=str(folder))


def test_the_report_is_logged_and_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = write(tmp_path / "shop")
    with caplog.at_level(logging.INFO, "rqrec"), open_workspace(tmp_path / "work", tmp_path) as workspace:
        stage = prepare_data(workspace, settings)
    expected = [
        "interactions.csv: there is no column timestamp, so the order of the rows is taken as the order in time",
        "there is no items table: the items are those of interactions.csv, without attributes",
        "interactions.csv: 7 interactions read, 7 kept, of 2 users; 5 items",
        "1 of 2 users are trained on and not evaluated, because they have fewer than 3 interactions",
    ]
    assert [record.getMessage() for record in caplog.records] == [
        "data: started",
        *(f"data: {line}" for line in expected),
    ]
    assert (stage.path / REPORT).read_text(encoding="utf-8").splitlines() == expected


def test_a_workspace_inside_the_folder_is_no_part_of_the_data(tmp_path: Path) -> None:
    settings = write(tmp_path / "shop")
    with open_workspace(tmp_path / "shop" / "work", tmp_path) as workspace:
        first = prepare_data(workspace, settings)
        assert prepare_data(workspace, settings) == first
        assert load_prepared(first).num_users == 2


def test_a_new_file_in_a_folder_of_files_makes_new_data(tmp_path: Path) -> None:
    (tmp_path / "shop" / "interactions").mkdir(parents=True)
    (tmp_path / "shop" / "interactions" / "0.csv").write_text(SHOP)
    settings = DatasetSettings(source=str(tmp_path / "shop"))
    with open_workspace(tmp_path / "work", tmp_path) as workspace:
        first = prepare_data(workspace, settings)
        (tmp_path / "shop" / "interactions" / "1.csv").write_text(SHOP.replace("u,", "w,").replace("v,", "x,"))
        second = prepare_data(workspace, settings)
        assert second.key != first.key
        assert load_prepared(second).num_users == 4
