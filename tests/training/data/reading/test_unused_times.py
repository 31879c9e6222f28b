import json
from datetime import UTC, date, datetime, time
from pathlib import Path
from time import process_time
from typing import Any

import polars as pl
import pytest

from rqrec.training.data.reading.unused_times import ROWS_LOOKED_AT, looks_like_times, warn_of_unused_times
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.sources import load_dataset


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("When", ["2024-01-05", "2024-01-06 10:00"]),
        ("When", [None, "", " 2024-01-05T10:00:00Z"]),
        ("When", ["12/1/2010 8:26"]),
        ("When", [date(2024, 1, 5)]),
        ("When", [datetime(2024, 1, 5, tzinfo=UTC)]),
        ("orderTime", [1_700_000_000, 1_700_000_100]),
        ("order_time", ["1700000000000"]),
        ("order_time", [1_700_000_000.5, float("nan")]),
        ("purchase-date", [20240131, 20231201]),
        ("InvoiceDate", ["5 Jan 2024", "6 Jan 2024"]),
    ],
)
def test_what_looks_like_times(name: str, values: list[Any]) -> None:
    assert looks_like_times(pl.Series(name, values))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("quantity", [1, 2, 3]),
        ("quantity", ["1", "2.5"]),
        ("order", [1_700_000_000, 1_700_000_100]),
        ("playtime", [35, 80_000]),
        ("candidate", [4_006_381_333_931, 5]),
        ("times_bought", ["1", "12"]),
        ("update_number", [20249999]),
        ("candidate", ["Ann", "Bob 2"]),
        ("time_of_day", ["10:00", "23:59:59"]),
        ("time", [time(10)]),
        ("update", [True]),
        ("date", [["2024-01-05"]]),
        ("date", ["", None]),
        ("date", []),
        ("page", ["2024-01-05", "home"]),
        ("update", ["in 2024, much was said about this one"] * 3 + ["x" * 41 + "1"]),
    ],
)
def test_what_does_not(name: str, values: list[Any]) -> None:
    assert not looks_like_times(pl.Series(name, values))


def test_a_given_format_is_known() -> None:
    assert looks_like_times(pl.Series("x", ["5 Jan 2024"]), "%d %b %Y")
    assert looks_like_times(pl.Series("x", ["05012024"]), "%d%m%Y")
    assert not looks_like_times(pl.Series("lifetime", ["35"]), "%d %b %Y")


def warnings(folder: Path, **settings: Any) -> list[str]:
    report = DataReport()
    load_dataset(str(folder), data_dir=folder, settings=DatasetSettings(**settings), report=report)
    return [line for line in report.lines if line.startswith("WARNING")]


LOG = "who,item,quantity,When\nu,a,3,2024-01-02\nu,b,1,2024-01-01\n"


def test_the_report_names_the_column_and_the_setting(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text(LOG)
    assert warnings(tmp_path, columns={"user_id": "who"}) == [
        "WARNING: interactions.csv: no column is read as timestamp, but 'When' looks like times: if it has the times "
        """of the interactions, use it by --set "DatasetSettings.columns={'user_id': 'who', 'timestamp': 'When'}\""""
    ]
    assert warnings(tmp_path, columns={"user_id": "who", "timestamp": "When"}) == []
    (tmp_path / "interactions.csv").write_text("user,item,quantity\nu,a,3\nu,b,1\n")
    assert warnings(tmp_path) == []


def test_a_day_and_a_clock_in_two_columns_warn_of_the_day(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text("user,item,time,date\nu,a,10:00,2024-01-02\nu,b,11:00,2024-01-01\n")
    assert "'date' looks like times" in warnings(tmp_path)[0]


def test_fields_of_objects_and_of_lists_of_objects_are_looked_at(tmp_path: Path) -> None:
    log = tmp_path / "interactions.jsonl"
    log.write_text('{"user": "u", "item": "a", "n": [{"k": 1}, {"k": 2}], "meta": {"at": "2024-01-01"}}\n')
    assert "'meta.at' looks like times" in warnings(tmp_path)[0]
    log.write_text('{"user": "u", "item": "a", "events": [{"k": 1, "at": "2024-01-01"}]}\n')
    assert "'events.at' looks like times" in warnings(tmp_path)[0]


@pytest.mark.parametrize("name", ["^a$", "^.*$", "*", "utm.source", ".", "a b"])
def test_columns_and_fields_of_any_name_are_looked_at(tmp_path: Path, name: str) -> None:
    csv, jsonl = tmp_path / "interactions.csv", tmp_path / "interactions.jsonl"
    for value, count in (("x", 0), ("2024-01-01", 1)):
        csv.write_text(f"user,item,{name}\nu,a,{value}\nu,b,{value}\n")
        assert len(warnings(tmp_path)) == count
        csv.unlink()
        for row in (
            {name: value},
            {"meta": {name: value}},
            {name: {"x.y": value}},
            {name: [{"*": value}, {"*": value}]},
        ):
            jsonl.write_text(json.dumps({"user": "u", "item": "a", **row}) + '\n{"user": "u", "item": "b"}\n')
            assert len(warnings(tmp_path)) == count
        jsonl.unlink()


def test_digits_of_another_alphabet_stop_nothing(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text("user,item,when\nu,a,١٢/١/٢٠١٠\nu,b,١٣/١/٢٠١٠\n")
    assert warnings(tmp_path) == []


def test_many_columns_are_read_at_once(tmp_path: Path) -> None:
    names = [f"x{number}" for number in range(3000)]
    (tmp_path / "interactions.csv").write_text(f"user,item,{','.join(names)},When\nu,a{',1' * 3000},2024-01-01\n")
    frame = pl.scan_csv(tmp_path / "interactions.csv", infer_schema=False)
    report, unused = DataReport(), {name: name for name in (*names, "When")}
    started = process_time()
    warn_of_unused_times(frame, unused, tmp_path / "interactions.csv", DatasetSettings(), report)
    assert "'When' looks like times" in report.lines[0]
    assert process_time() - started < 10


def test_recbole_files_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "x.inter").write_text("user_id:token\titem_id:token\tmoment_of_time:float\nu\ta\t1700000000\n")
    assert "'timestamp': 'moment_of_time'" in warnings(tmp_path)[0]


def test_only_the_first_rows_are_looked_at(tmp_path: Path) -> None:
    rows = [f"u,{n},2024-01-01\n" for n in range(ROWS_LOOKED_AT)]
    (tmp_path / "interactions.csv").write_text("user,item,When\n" + "".join(rows) + "u,x,no time\n")
    assert len(warnings(tmp_path)) == 1
