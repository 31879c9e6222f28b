import logging
from pathlib import Path

import pytest

from rqrec.training.data.prepare import REPORT, load_prepared, load_split, prepare_data
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.splitting.settings import SplitSettings
from rqrec.training.runtime.workspace import Stage, open_workspace

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
        "1 of 2 users are trained on and not evaluated: 1 with fewer than 3 interactions "
        "(SplitSettings.held_out_items = 1 holds out less)",
        "repeats: 0.0% of the test items and 0.0% of the training items stand in the user's own history, so lists "
        "leave the history out (SplitSettings.exclude_history)",
    ]
    assert [record.getMessage() for record in caplog.records][:-1] == [
        "data: started",
        *(f"data: {line}" for line in expected),
    ]
    assert caplog.records[-1].getMessage().startswith("data: finished")
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


def report(folder: Path, split: SplitSettings, log: str = SHOP) -> tuple[str, Stage]:
    with open_workspace(folder / "work", folder) as workspace:
        stage = prepare_data(workspace, write(folder / "shop", log), split)
    return (stage.path / REPORT).read_text(encoding="utf-8"), stage


def test_less_is_held_out_by_a_setting(tmp_path: Path) -> None:
    pairs = "user_id,item_id\n" + "".join(f"u{user},{item}\n" for user in range(10) for item in range(2))
    default, stage = report(tmp_path, SplitSettings(), pairs)
    assert len(load_split(stage).test) == 0
    assert "set SplitSettings.held_out_items = 1 (test only) and SplitSettings.held_out_users = 0.2" in default


def test_what_the_message_names_lets_users_of_two_interactions_be_evaluated(tmp_path: Path) -> None:
    pairs = "user_id,item_id\n" + "".join(f"u{user},{item}\n" for user in range(10) for item in range(2))
    text, stage = report(tmp_path, SplitSettings(held_out_items=1, held_out_users=0.2), pairs)
    split = load_split(stage)
    assert (len(split.test), len(split.validation), split.train.lengths_U.max()) == (2, 0, 2)
    assert "8 of 10 users are trained on and not evaluated: SplitSettings.held_out_users = 0.2" in text


def test_nothing_is_held_out_by_a_setting(tmp_path: Path) -> None:
    text, stage = report(tmp_path, SplitSettings(held_out_items=0))
    assert "no user is evaluated, and all interactions are trained on" in text
    assert load_split(stage).is_train_I.all()


def test_the_report_says_how_time_splits_the_data(tmp_path: Path) -> None:
    text, stage = report(tmp_path, SplitSettings(kind="time", test_from=0.5, validation_share=0.0))
    assert "split by time: 3 of 7 interactions are trained on, and 1 of 2 users are evaluated (0 in validation)" in text
    assert load_split(stage).test.period is not None
