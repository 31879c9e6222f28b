import shlex
from pathlib import Path
from typing import Any

import pytest

from rqrec.training.data.dataset import DataError, Dataset
from rqrec.training.data.reading.names import columns_option
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.sources import load_dataset


def load(folder: Path, log: str, items: str, report: DataReport | None = None, **settings: Any) -> Dataset:
    for name, text in (("interactions", log), ("items", items)):
        suffix = "jsonl" if text.startswith("{") else "csv"
        (folder / f"{name}.{suffix}").write_text(text)
    return load_dataset(str(folder), data_dir=folder, settings=DatasetSettings(**settings), report=report)


EXPORTS = {
    "upper case, as Personalize": ("USER_ID,ITEM_ID,EVENT_TYPE,TIMESTAMP\nu,a,view,2\nu,b,view,1\n", "ITEM_ID\na\nb\n"),
    "plain words": ("user,item,time\nu,a,2\nu,b,1\n", "item,title\na,x\nb,y\n"),
    "plain words in upper case, and a date": ("User,Item,Date\nu,a,2024-02-01\nu,b,2024-01-01\n", "ID\na\nb\n"),
    "a time before its date": (
        "user,item,date,date_time\nu,a,2024-01-01,2024-01-01 09:00\nu,b,2024-01-01,2024-01-01 08:00\n",
        "id,item\na,1\nb,2\n",
    ),
    "camel case": ("userId,itemId,timestamp\nu,a,2\nu,b,1\n", "itemId\na\nb\n"),
    "gorse": (
        "feedback_type,user_id,item_id,time_stamp\nx,u,a,2024-02-01\nx,u,b,2024-01-01\n",
        "item_id\na\nb\n",
    ),
    "Amazon 2014 and 2018": (
        '{"reviewerID": "u", "asin": "a", "unixReviewTime": 2}\n'
        '{"reviewerID": "u", "asin": "b", "unixReviewTime": 1}\n',
        '{"asin": "a"}\n{"asin": "b"}\n',
    ),
    "Amazon 2023": (
        '{"user_id": "u", "asin": "x", "parent_asin": "a", "timestamp": 2}\n'
        '{"user_id": "u", "asin": "y", "parent_asin": "b", "timestamp": 1}\n',
        '{"parent_asin": "a"}\n{"parent_asin": "b"}\n',
    ),
    "Vertex": (
        '{"visitorId": "u", "eventTime": "2024-01-01T00:00:00Z", "productDetails": [{"product": {"id": "b"}}]}\n'
        '{"visitorId": "u", "eventTime": "2024-01-02T00:00:00Z", "productDetails": [{"product": {"id": "a"}}]}\n'
        '{"visitorId": "u", "eventTime": "2024-01-03T00:00:00Z", "productDetails": []}\n',
        '{"id": "a"}\n{"id": "b"}\n',
    ),
}


@pytest.mark.parametrize("export", EXPORTS)
def test_reads_the_names_of_known_exports(tmp_path: Path, export: str) -> None:
    dataset = load(tmp_path, *EXPORTS[export])
    assert dataset.items["item_id"].to_list() == ["a", "b"]
    assert dataset.interactions["item_index"].to_list() == [1, 0]


def test_an_event_with_several_products_is_several_interactions_and_one_with_none_is_counted(tmp_path: Path) -> None:
    report = DataReport()
    log = (
        '{"user_id": "u", "timestamp": 1, "items": [{"sku": "a"}, {"sku": "b"}]}\n'
        '{"user_id": "u", "timestamp": 2, "items": []}\n'
    )
    settings = {"columns": {"item_id": "items.sku"}, "unknown_items": "add"}
    dataset = load(tmp_path, log, "item_id\na\n", report, **settings)
    assert len(dataset.interactions) == 2
    assert "interactions.jsonl: 1 events dropped, because they name no item" in report.lines


def test_a_mapping_renames_columns_and_the_report_says_what_is_not_used(tmp_path: Path) -> None:
    report = DataReport()
    log = "CustomerID,Sku,When,Till\nu,a,2,5\nu,b,1,5\n"
    columns = {"user_id": "CustomerID", "interactions.item_id": "Sku", "items.item_id": "Code", "timestamp": "When"}
    dataset = load(tmp_path, log, "Code,name\na,x\nb,y\n", report, columns=columns)
    assert dataset.interactions["item_index"].to_list() == [1, 0]
    assert dataset.items.columns == ["item_id", "name"]
    assert "interactions.csv: column 'CustomerID' is read as user_id" in report.lines
    assert "interactions.csv: columns not used: 'Till'" in report.lines


def test_a_mapping_can_say_that_a_column_holds_lists(tmp_path: Path) -> None:
    items = "ITEM_ID,GENRES\na,A|B\n"
    dataset = load(tmp_path, "user_id,item_id\nu,a\n", items, columns={"GENRES[]": "GENRES"})
    assert dataset.items.rows() == [("a", ["A", "B"])]


@pytest.mark.parametrize(
    ("log", "columns", "message"),
    [
        (
            "User_ID,userid,item_id\n1,2,3\n",
            {},
            r"one column for user_id, but has \['User_ID', 'userid'\]: name one of them, such as by --set",
        ),
        (
            "who,item_id,When\n1,2,3\n",
            {"timestamp": "When"},
            r"""interactions.csv must have a column user_id, but has \['who', 'item_id', 'When'\]: name what holds """
            r"""the ids \(and any rating, event_type\) by --set "DatasetSettings.columns=\{'timestamp': 'When', """
            r"""'user_id': '…'\}"$""",
        ),
        (
            "who,what\n1,2\n",
            {},
            r"""must have the columns user_id and item_id, but has \['who', 'what'\]: name what holds the ids """
            r"""\(and any timestamp, rating, event_type\) by --set "DatasetSettings.columns=\{'user_id': '…', """
            r"""'item_id': '…'\}"$""",
        ),
        ("user,USER,item\n1,2,3\n", {}, r"""has \['user', 'USER'\]: .* --set "Data.*=\{'user_id': 'user'\}"$"""),
        ("user_id,item_id\n1,2\n", {"timestamp": "Time"}, "'timestamp' from the column 'Time', which interactions in"),
        ("user_id,item_id\n1,2\n", {"items.item_id": "sku"}, "'items.item_id' from the column 'sku', which items in"),
        ("user_id,item_id,s\n1,2,3\n", {"ratings": "s"}, r"unknown key 'ratings' \(did you mean 'rating'\?\)"),
        ("user_id,item_id,s\n1,2,3\n", {"interactions.score": "s"}, "unknown key 'interactions.score': use one of"),
        ("user_id,item_id\n1,2\n", {"item.item_id": "item_id"}, r"'item.item_id' \(did you mean 'item_id'\?\)"),
        ("x,time\n1,2\n", {"user_id": "x", "item_id": "x"}, "reads user_id and item_id from one column, 'x'"),
        ("user_id,item_id\n1,2\n", {"name": "b", "title": "b"}, "items.csv: .* reads name and title from one"),
        ("user_id,item_id\n1,2\n", {"items.item_id": "b"}, "a column 'item_id' as well: add it to .*ignored_columns"),
    ],
)
def test_refuses_names_that_are_ambiguous_or_do_not_exist(
    tmp_path: Path, log: str, columns: dict[str, str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load(tmp_path, log, "item_id,b\n2,3\n", columns=columns)


def test_a_mapping_decides_between_names_that_are_both_known(tmp_path: Path) -> None:
    log = "User_ID,userid,item_id\nu,v,a\nw,v,b\n"
    dataset = load(tmp_path, log, "item_id\na\nb\n", columns={"user_id": "User_ID"})
    assert dataset.num_users == 2


def test_plain_words_give_way_to_other_names_and_to_the_mapping(tmp_path: Path) -> None:
    log = "user_id,user,asin,item,timestamp,date,time\nu,x,a,y,2,9,1\nu,x,b,y,1,8,2\n"
    report = DataReport()
    dataset = load(tmp_path, log, "item_id\na\nb\n", report, columns={"rating": "time"}, ratings="ignore")
    assert dataset.interactions["timestamp"].to_list() == [1, 2]
    assert "interactions.csv: columns not used: 'user', 'item', 'date', 'time'" in report.lines


def test_a_column_has_one_meaning(tmp_path: Path) -> None:
    report = DataReport()
    load(tmp_path, "user,item,time\nu,a,5\nu,b,2\n", "item\na\nb\n", report, columns={"rating": "time"})
    assert "interactions.csv: column 'user' is read as user_id" in report.lines
    assert "interactions.csv: column 'time' is read as rating" in report.lines
    assert not any("timestamp" in line and "read as" in line for line in report.lines)


def test_a_day_and_a_clock_in_two_columns_are_not_guessed(tmp_path: Path) -> None:
    report = DataReport()
    load(tmp_path, "user,item,date,time\nu,a,2024-01-02,10:00\nu,b,2024-01-01,11:00\n", "item\na\nb\n", report)
    assert "interactions.csv: columns not used: 'date', 'time'" in report.lines


@pytest.mark.parametrize("name", ["it's", 'a "b" \\'])
def test_the_option_can_be_pasted_into_a_shell(name: str) -> None:
    option = columns_option({"user_id": name}, {"item_id": "sku"})
    assert shlex.split(option) == ["--set", f"DatasetSettings.columns={ {'user_id': name, 'item_id': 'sku'} }"]


def test_a_prefix_wins_over_a_name_for_both_tables(tmp_path: Path) -> None:
    columns = {"items.item_id": "code", "item_id": "sku"}
    dataset = load(tmp_path, "user_id,sku\nu,a\n", "sku,code\n1,a\n", columns=columns)
    assert dataset.items.rows() == [("a", 1)]


def test_a_name_of_the_interactions_renames_no_column_of_the_items(tmp_path: Path) -> None:
    dataset = load(tmp_path, "id,item_id\nu,a\n", "id,id_of_user\na,7\n", columns={"user_id": "id"})
    assert dataset.items.rows(named=True) == [{"item_id": "a", "id_of_user": 7}]


def test_refuses_to_ignore_a_column_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"items.csv must have the columns of .*, but \['x'\] are missing"):
        load(tmp_path, "user_id,item_id\nu,a\n", "item_id\na\n", ignored_columns=("x",))


def test_pandas_numbers_of_rows_are_no_attribute(tmp_path: Path) -> None:
    report = DataReport()
    dataset = load(tmp_path, ",user_id,item_id\n0,u,a\n", ",item_id,title\n0,a,x\n", report)
    assert dataset.items.columns == ["item_id", "title"]
    assert "items.csv: columns [''] are not read, because they hold the numbers of the rows" in report.lines
