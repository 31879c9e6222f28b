import gzip
from pathlib import Path

import pytest

from rqrec.training.data.dataset import DataError
from rqrec.training.data.reading.full_lines import check_full_lines
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.sources import load_dataset

HEADER = "user_id,item_id,timestamp,rating\n"


def check(path: Path, content: str, *, quotes: bool = True, encoding: str = "utf-8") -> list[str]:
    data = content.encode(encoding)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    report = DataReport()
    check_full_lines(path, DatasetSettings(quotes=quotes), report)
    return report.lines


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("u,a,1,5,extra,x\n", "line 2: expected 4 fields with ',' between them, got 6"),
        ("u,a,1,5\n\nu,b,2\n", "line 4: expected 4 fields with ',' between them, got 3"),
        ('u,"a,b",1,5\nu,"a,b",2\n', "line 3: expected 4 fields with ',' between them, got 3"),
        ('u,"a\nb",1,5\nu,b,2\n', "line 4: expected 4 fields with ',' between them, got 3"),
        ('u,a,1,5\nu,"b,2,5\nu,c,3,5\n', "line 3: a quote is not closed"),
    ],
)
@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_a_line_with_other_fields_is_refused_by_its_number(tmp_path: Path, rows: str, message: str, name: str) -> None:
    with pytest.raises(DataError, match=f"^{name}, {message}"):
        check(tmp_path / name, HEADER + rows)


def test_full_lines_and_empty_ones_pass(tmp_path: Path) -> None:
    rows = 'u,a,1,\n\r\nu,"a,""b""",,5\r\n\n'
    assert check(tmp_path / "log.csv", HEADER + rows) == []
    assert check(tmp_path / "log.csv", HEADER + 'u,12" mix,1,5\n', quotes=False) == []


def test_carriage_returns_in_values_are_no_ends_of_lines(tmp_path: Path) -> None:
    assert len(check(tmp_path / "log.csv", HEADER + 'u,a\rb,"1\n2",\nu,"a\rb",3,4\n')) == 1


def test_the_encoding_and_the_line_of_excel_count(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="log.csv, line 3: expected 2 fields with ';' between them, got 1"):
        check(tmp_path / "log.csv", "sep=;\nuser_id;item_id\nu\n", encoding="utf-16")


def test_rows_of_several_lines_are_counted(tmp_path: Path) -> None:
    lines = check(tmp_path / "log.tsv", 'user\titem\tx\nu\ta\t"Big\nu\tb\tsmall\nu\tc\tx"\nu\td\tz\n')
    assert len(lines) == 1
    assert lines[0].startswith("log.tsv: 1 rows have several lines, because a value in quotes contains line breaks")


@pytest.mark.parametrize(
    ("name", "text"), [("interactions.csv", f"{HEADER}u,a,1,3\nu,b,2\n"), ("x.inter", "user:token\titem:token\nu\n")]
)
def test_lines_of_interactions_must_be_full(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=f"{name}, line .: expected . fields"):
        load_dataset(str(tmp_path), data_dir=tmp_path)


def test_surplus_fields_of_interactions_are_refused_in_columns_that_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text("user_id;item_id;x\nu;a;1\nu;b;2;extra;x\n")
    with pytest.raises(DataError, match="interactions.csv, line 3: expected 3 fields with ';' between them, got 5"):
        load_dataset(str(tmp_path), data_dir=tmp_path)
