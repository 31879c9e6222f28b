import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rqrec.training.data.dataset import DataError, Dataset
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.sources import load_dataset

LOG = "user_id,item_id,timestamp\nu,00123,1\nu,12e3,2\nv,00123,3\n"
ITEMS = "item_id,title\n00123,Café\n12e3,Hat\n"
SKIPPED = "without a value in the columns that are read are skipped"
JSON_LOG = [{"user_id": "u", "item_id": item, "timestamp": time} for time, item in enumerate(("00123", "12e3"))]


def load(folder: Path, **settings: Any) -> Dataset:
    return load_dataset(str(folder), data_dir=folder, settings=DatasetSettings(**settings))


def report_of(folder: Path, **settings: Any) -> list[str]:
    report = DataReport()
    load_dataset(str(folder), data_dir=folder, settings=DatasetSettings(**settings), report=report)
    return report.lines


def write_zst(text: str, path: Path) -> None:
    pl.read_csv(text.encode(), infer_schema=False).lazy().sink_csv(path, compression="zstd")


WRITERS: dict[str, Callable[[str, Path], object]] = {
    "csv": lambda text, path: path.write_text(text),
    "CSV": lambda text, path: path.write_text(text.replace(",", ";")),
    "tsv": lambda text, path: path.write_text(text.replace(",", "\t")),
    "csv.gz": lambda text, path: path.write_bytes(gzip.compress(text.replace(",", "|").encode())),
    "csv.zst": write_zst,
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_reads_csv_with_any_separator_and_compression_and_keeps_ids(tmp_path: Path, suffix: str) -> None:
    WRITERS[suffix](LOG, tmp_path / f"interactions.{suffix}")
    WRITERS[suffix](ITEMS, tmp_path / f"items.{suffix}")
    dataset = load(tmp_path)
    assert dataset.items.rows() == [("00123", "Café"), ("12e3", "Hat")]
    assert dataset.interactions["item_index"].to_list() == [0, 1, 0]


@pytest.mark.parametrize("suffix", ["json", "ndjson", "jsonl.gz"])
def test_reads_json_arrays_and_lines(tmp_path: Path, suffix: str) -> None:
    lines = "\n".join(map(json.dumps, JSON_LOG))
    text = (json.dumps(JSON_LOG) if suffix == "json" else lines).encode()
    (tmp_path / f"interactions.{suffix}").write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    assert load(tmp_path).items["item_id"].to_list() == ["00123", "12e3"]


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_reads_a_folder_of_files_in_the_order_of_their_names(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "interactions").mkdir()
    for number, item in ((9, "b"), (10, "a")):
        part = pl.DataFrame({"user_id": ["u"], "item_id": [item]})
        path = tmp_path / "interactions" / f"part-{number}.{suffix}"
        part.write_parquet(path) if suffix == "parquet" else part.write_csv(path)
    (tmp_path / "interactions" / "_SUCCESS").touch()
    assert load(tmp_path).interactions["item_index"].to_list() == [1, 0]


LOG_OF_U = "user_id,item_id\nu,a\nu,b\n"


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (
            "v,a\nv,b\n",
            r"^b.csv: expected the columns of a.csv, .* missing: it has \['v', 'a'\]: give all files in inter",
        ),
        ("USER_ID,ITEM_ID\nv,a\n", r"^b.csv: .* it has \['USER_ID', 'ITEM_ID'\]"),
        ("user_id,x\nv,a\n", r"^b.csv: .*but \['item_id'\] are missing"),
    ],
)
def test_a_file_of_a_folder_that_lacks_a_column_is_refused_by_its_name(
    tmp_path: Path, second: str, message: str
) -> None:
    (tmp_path / "interactions").mkdir()
    (tmp_path / "interactions" / "a.csv").write_text(LOG_OF_U)
    (tmp_path / "interactions" / "b.csv").write_text(second)
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_files_of_a_folder_may_order_columns_otherwise_and_have_more(tmp_path: Path) -> None:
    (tmp_path / "interactions").mkdir()
    (tmp_path / "interactions" / "a.csv").write_text(LOG_OF_U)
    (tmp_path / "interactions" / "b.csv").write_text("item_id,more,user_id\na,1,v\n")
    assert load(tmp_path).interactions["item_index"].to_list() == [0, 1, 0]
    said = report_of(tmp_path)
    assert "b.csv has the columns ['more'], which a.csv does not have: they are empty there" in said


def test_hidden_files_are_no_part_of_a_table(tmp_path: Path) -> None:
    for name in ("a.csv", "._a.csv", ".ipynb_checkpoints/a.csv"):
        path = tmp_path / "interactions" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(LOG_OF_U)
    assert len(load(tmp_path).interactions) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_first_line_of_excel_names_the_separator(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "interactions.csv").write_text("sep=;\r\n" + LOG.replace(",", ";"), encoding=encoding)
    assert load(tmp_path).items["item_id"].to_list() == ["00123", "12e3"]


@pytest.mark.parametrize("start", ["\ufeff", "\n" * 100, "\ufeff  "])
def test_json_may_begin_with_a_byte_order_mark_and_spaces(tmp_path: Path, start: str) -> None:
    lines = "\n".join(map(json.dumps, JSON_LOG))
    for text in (json.dumps(JSON_LOG), lines):
        (tmp_path / "interactions.json").write_text(start + text)
        assert load(tmp_path).items["item_id"].to_list() == ["00123", "12e3"]


@pytest.mark.parametrize("text", [json.dumps(JSON_LOG), "\n".join(map(json.dumps, JSON_LOG))])
def test_reads_compressed_json_arrays_and_lines(tmp_path: Path, text: str) -> None:
    lines = pl.DataFrame({"line": text.split("\n")}).lazy()
    lines.sink_csv(tmp_path / "interactions.json.zst", compression="zstd", include_header=False, quote_style="never")
    assert load(tmp_path).items["item_id"].to_list() == ["00123", "12e3"]


def test_a_compressed_file_of_another_encoding_is_refused(tmp_path: Path) -> None:
    write_zst(LOG, tmp_path / "interactions.csv.zst")
    with pytest.raises(DataError, match="interactions.csv.zst must be UTF-8, .*, got 'cp1252': decompress the file"):
        load(tmp_path, encoding="cp1252")


def test_rows_that_are_empty_where_it_counts_are_not_called_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text("user_id;item_id;sum\nu;a;1\nu;b;2\n;;3\n")
    assert f"interactions.csv: 1 lines {SKIPPED}" in report_of(tmp_path)


@pytest.mark.parametrize(
    ("encoding", "named"), [("utf-8-sig", None), ("latin-1", "cp1252"), ("utf-16", "utf-16"), ("utf-8", None)]
)
def test_detects_the_encoding_and_says_which_it_is(tmp_path: Path, encoding: str, named: str | None) -> None:
    (tmp_path / "interactions.csv").write_text(LOG)
    (tmp_path / "items.csv").write_text(ITEMS, encoding=encoding)
    assert load(tmp_path).items["title"].to_list() == ["Café", "Hat"]
    said = [line for line in report_of(tmp_path) if "is not UTF-8" in line]
    assert len(said) == (named is not None)
    assert named is None or f"items.csv: read as {named}" in said[0]


def test_the_settings_name_encoding_and_separator(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text(LOG.replace(",", "~"))
    (tmp_path / "items.csv").write_text(ITEMS.replace(",", "~").replace("é", "ő"), encoding="cp1250")
    assert load(tmp_path, separator="~", encoding="cp1250").items["title"][0] == "Cafő"


def test_the_settings_name_the_files(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text(LOG)
    (tmp_path / "books.csv").write_text(ITEMS)
    assert load(tmp_path, interactions="ratings.csv", items="books.csv").items["title"].to_list() == ["Café", "Hat"]


def test_a_file_may_have_no_header_and_quotes_that_enclose_nothing(tmp_path: Path) -> None:
    (tmp_path / "plays.txt").write_text('u\t2024-01-02\t12" mix\nu\t2024-01-01\tb\n')
    columns = {"user_id": "column_1", "timestamp": "column_2", "item_id": "column_3"}
    dataset = load(tmp_path, interactions="plays.txt", columns=columns, has_header=False, quotes=False)
    assert dataset.items["item_id"].to_list() == ['12" mix', "b"]
    assert dataset.interactions["item_index"].to_list() == [1, 0]


def test_empty_lines_are_skipped_and_spaces_around_names_removed(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text("user_id, item_id, timestamp\n\nu,00123,1\n\n")
    (tmp_path / "items.csv").write_text("item_id , title\n00123,Hat\n\n")
    assert load(tmp_path).items.to_dicts() == [{"item_id": "00123", "title": "Hat"}]
    assert {f"{name}.csv: {count} lines {SKIPPED}" for name, count in (("interactions", 2), ("items", 1))} <= set(
        report_of(tmp_path)
    )


def test_own_tables_come_before_a_file_that_movielens_has_too(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text(LOG)
    (tmp_path / "movies.csv").write_text(ITEMS)
    assert load(tmp_path, items="movies.csv").items["title"].to_list() == ["Café", "Hat"]


def test_a_log_without_items_is_enough_and_said(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text(LOG)
    assert load(tmp_path).items.rows() == [("00123",), ("12e3",)]
    assert any("there is no items table" in line for line in report_of(tmp_path))


BROKEN: list[tuple[dict[str, bytes], dict[str, Any], str]] = [
    ({"interactions.csv": b""}, {}, "interactions.csv is empty"),
    ({"interactions.csv": LOG.encode() + b"u,a,4,5\n"}, {}, r"interactions.csv, line 5: expected 3 fields .*, got 4"),
    ({"items.csv": ITEMS.encode() + b"x\n"}, {}, "items.csv, line 4: expected 2 fields .*, got 1"),
    (
        {"items.csv": b'item_id,title\n00123,"a\nb,c\n'},
        {},
        "items.csv, line 2: a quote is not closed: .*quotes = False",
    ),
    ({"items.csv": b"item_id,a,a\n1,2,3\n"}, {}, "items.csv, line 1: column 'a' is there twice"),
    ({"items.csv": b"item_id,a, a\n1,2,3\n"}, {}, "items.csv, line 1: column 'a' is there twice"),
    ({"items.jsonl": b'{"item_id": "a"}\n{bad\n'}, {}, "items.jsonl, line 2: expected a JSON object"),
    ({"items.jsonl": b'{"item_id": "a"}\n[1]\n'}, {}, r"items.jsonl, line 2: expected a JSON object, got '\[1\]"),
    ({"items.jsonl": b'{"item_id": "a", "p": NaN}\n'}, {}, "items.jsonl, line 1: .*NaN is not JSON, write null"),
    ({"items.jsonl": b'{"item_id": ' + b"[" * 5000 + b"]" * 5000 + b"}"}, {}, "items.jsonl, line 1: .*recursion"),
    ({"items.json": b'[{"item_id": "a"},\n{bad]'}, {}, "items.json, expected an array of JSON objects, .* line 2"),
    ({"items.parquet": b"PAR1"}, {}, "cannot read items.parquet as parquet"),
    ({"items.csv.gz": b"no gzip"}, {}, "cannot read items.csv.gz as csv: Not a gzipped file"),
    ({"items.csv.gz": gzip.compress(ITEMS.encode() * 99)[:40]}, {}, "cannot read items.csv.gz as csv: Compressed file"),
    ({}, {"encoding": "klingon"}, "DatasetSettings.encoding must be an encoding such as 'cp1252', got 'klingon'"),
    ({}, {"encoding": "hex"}, "DatasetSettings.encoding must be an encoding such as 'cp1252', got 'hex'"),
    ({}, {"encoding": "rot13"}, "DatasetSettings.encoding must be an encoding such as 'cp1252', got 'rot13'"),
    ({}, {"encoding": "a\0"}, "DatasetSettings.encoding must be an encoding such as 'cp1252', got"),
    ({"items.csv": ITEMS.encode()}, {"encoding": "ascii"}, "items.csv is not ascii"),
    ({}, {"separator": "::"}, "DatasetSettings.separator must be one character of ASCII, not .*, got '::'"),
    ({}, {"separator": '"'}, "DatasetSettings.separator must be one character of ASCII, not a quote"),
    ({}, {"items": "books.csv"}, "DatasetSettings.items must name a file or folder of tables .*, got 'books.csv'"),
    ({"items.csv": b"", "items.json": b"[]"}, {}, r"found \['items.csv', 'items.json'\]: keep one, or set"),
]


@pytest.mark.parametrize(("files", "settings", "message"), BROKEN)
def test_broken_files_are_refused_in_one_line_that_names_the_place(
    tmp_path: Path, files: dict[str, bytes], settings: dict[str, Any], message: str
) -> None:
    for name, content in {"interactions.csv": LOG.encode(), **files}.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as refused:
        load(tmp_path, **settings)
    assert "\n" not in str(refused.value)
