import polars as pl
import pytest

from rqrec.training.data.dataset import DataError
from rqrec.training.data.reading.typed_text import typed_texts
from rqrec.training.data.report import DataReport


def typed(values: list[str | None], *, name: str = "x", from_csv: bool = True) -> pl.Series:
    frame = pl.DataFrame({"item_id": ["0"] * len(values), name: pl.Series(values, dtype=pl.String)})
    return typed_texts(frame, path="items.csv", from_csv=from_csv, report=DataReport()).to_series(1)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (["1", "-2", None], pl.Int64(), [1, -2, None]),
        (["1", "2.5", ""], pl.Float64(), [1.0, 2.5, None]),
        (["1", "NA", "nan"], pl.Int64(), [1, None, None]),
        (["true", "False", None], pl.Boolean(), [True, False, None]),
        (["$12.99", "$1,200", None], pl.Float64(), [12.99, 1200.0, None]),
        (["12,99 €", "1.299,00 €", None], pl.Float64(), [12.99, 1299.0, None]),
        (["€ 12,99", "€ 5"], pl.Float64(), [12.99, 5.0]),
        (["12.99 EUR", "1,299.00 EUR"], pl.Float64(), [12.99, 1299.0]),
        (["CHF 1'299.50", "CHF 3.-"], pl.Float64(), [1299.5, 3.0]),
        (["1 299 kr", "39 kr"], pl.Float64(), [1299.0, 39.0]),
        (["1,299 €", "5 €"], pl.Float64(), [1299.0, 5.0]),
        (["-3,5", "2"], pl.Float64(), [-3.5, 2.0]),
        (["1.234.567", "12"], pl.Float64(), [1234567.0, 12.0]),
        (["0,125", "1,299"], pl.Float64(), [0.125, 1.299]),
        (["1,299", "39"], pl.String(), ["1,299", "39"]),
        (["12,99", "12.99"], pl.String(), ["12,99", "12.99"]),
        (["1.2.3", "1.2.4"], pl.String(), ["1.2.3", "1.2.4"]),
        (["25.04.2022"], pl.String(), ["25.04.2022"]),
        (["SKU 12", "SKU 13"], pl.String(), ["SKU 12", "SKU 13"]),
        (["030 123 456"], pl.String(), ["030 123 456"]),
        (["['a', 'b']", "[]"], pl.List(pl.String), [["a", "b"], []]),
        (["[0.5, 1]", "[2, 3]"], pl.List(pl.Float64), [[0.5, 1.0], [2.0, 3.0]]),
        (["[0.5 1. ]", "[-2\n 3]"], pl.List(pl.Float64), [[0.5, 1.0], [-2.0, 3.0]]),
        (["['a' 'b']", "['c']"], pl.List(pl.String), [["a", "b"], ["c"]]),
        (["007", "12"], pl.String(), ["007", "12"]),
        (["12E4", "2E400"], pl.String(), ["12E4", "2E400"]),
        (["1.2E4", "1e+05", "1e-07"], pl.Float64(), [12000.0, 100000.0, 1e-07]),
        (["1.5e400", "2.5"], pl.String(), ["1.5e400", "2.5"]),
        (["[{[0]}]"], pl.String(), ["[{[0]}]"]),
        ([f"[1{'0' * 320}]"], pl.String(), [f"[1{'0' * 320}]"]),
        ([r"['\d']"], pl.List(pl.String), [[r"\d"]]),
        (["12345678901234567890123", "1"], pl.String(), ["12345678901234567890123", "1"]),
        (["$1", "€2"], pl.String(), ["$1", "€2"]),
        (["$1", "from $2"], pl.String(), ["$1", "from $2"]),
        (["[a", "b]"], pl.String(), ["[a", "b]"]),
        (["[a]"], pl.String(), ["[a]"]),
        (["[1, 'a']"], pl.String(), ["[1, 'a']"]),
        (["NA", "red"], pl.String(), ["NA", "red"]),
        (["€ ١٢", "€ ٣"], pl.String(), ["€ ١٢", "€ ٣"]),
        ([None, ""], pl.String(), [None, ""]),
    ],
)
def test_a_column_has_the_type_that_all_its_values_have(
    values: list[str | None], dtype: pl.DataType, expected: list[object]
) -> None:
    column = typed(values)
    assert column.dtype == dtype
    assert column.to_list() == expected


@pytest.mark.parametrize(
    ("values", "decimal", "expected", "note"),
    [
        (
            ["1.299", "39", "1.050"],
            "auto",
            [1.299, 39.0, 1.05],
            "if it is between thousands, set DatasetSettings.decimal",
        ),
        (["1.299", "39", "1.050"], ",", [1299.0, 39.0, 1050.0], "numbers such as '1.299': read as 1299"),
        (["1,299", "39"], "auto", ["1,299", "39"], "set DatasetSettings.decimal = ',' or '.'"),
        (["1,299", "39"], ",", [1.299, 39.0], "read as 1.299"),
        (["1,299", "39"], ".", [1299.0, 39.0], "read as 1299"),
    ],
)
def test_a_number_that_could_be_two_is_said_and_a_setting_decides(
    values: list[str], decimal: str, expected: list[object], note: str
) -> None:
    items, report = pl.DataFrame({"item_id": values, "n": values}), DataReport()
    found = typed_texts(items, path="items.csv", from_csv=True, report=report, decimal=decimal)["n"]
    assert found.to_list() == expected
    (line,) = report.lines
    assert note in line


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a|b, c", "d"], [["a", "b, c"], ["d"]]),
        (["Home > Kitchen > Pans", "Home"], [["Home", "Kitchen", "Pans"], ["Home"]]),
        (["steel, black", "steel"], [["steel", "black"], ["steel"]]),
        (["a; b,c", None], [["a", "b,c"], None]),
        (["x | y", "y||z|", "|"], [["x", "y"], ["y", "z"], []]),
        (["x; ;y;", "y"], [["x", "y"], ["y"]]),
        (["a", "b"], [["a"], ["b"]]),
    ],
)
def test_a_column_of_lists_is_split_at_the_mark_that_it_has(values: list[str | None], expected: list[object]) -> None:
    items = pl.DataFrame({"item_id": ["0"] * len(values), "x[]": values})
    assert typed_texts(items, path="items.csv", from_csv=True, report=DataReport())["x"].to_list() == expected


@pytest.mark.parametrize("name", ["*", "^x$", "text", "item_index"])
def test_any_name_can_be_an_attribute(name: str) -> None:
    assert typed(["1"], name=name).to_list() == [1]


def test_numbers_in_json_strings_stay_text_and_prices_do_not() -> None:
    assert typed(["1", "2"], from_csv=False).dtype == pl.String
    assert typed(["$1.50"], from_csv=False).to_list() == [1.5]


def test_a_column_that_is_nearly_a_number_is_text_and_said() -> None:
    report = DataReport()
    items = pl.DataFrame({"item_id": list("abcdefghij"), "n": ["1"] * 9 + ["free"]})
    assert typed_texts(items, path="items.csv", from_csv=True, report=report)["n"].dtype == pl.String
    assert "'n' is text, because 1 of 10 values are not numbers, the first 'free' (data row 10)" in report.lines[0]


def test_codes_that_could_be_numbers_are_text_and_said() -> None:
    report = DataReport()
    items = pl.DataFrame({"item_id": ["0", "1"], "code": ["12E4", "3E5"]})
    typed_texts(items, path="items.csv", from_csv=True, report=report)
    assert report.lines == [
        "items.csv: column 'code' is text, because values such as '12E4' may be codes: if they are numbers, write "
        "'12e+4'"
    ]


def test_refuses_a_column_of_lists_beside_a_column_of_its_name() -> None:
    items = pl.DataFrame({"item_id": ["0"], "genres": ["a"], "genres[]": ["a|b"]})
    with pytest.raises(DataError, match=r"column 'genres\[\]' is read as 'genres', but there is a column 'genres'"):
        typed_texts(items, path="items.csv", from_csv=True, report=DataReport())


def test_every_change_is_reported() -> None:
    report = DataReport()
    items = pl.DataFrame({"item_id": ["0", "1"], "n": ["1", "NA"], "p": ["$1", "$2"], "l": ["['a']", "[]"]})
    typed_texts(items, path="items.csv", from_csv=True, report=report)
    assert report.lines == [
        "items.csv: column 'n' is a number; 1 texts such as 'NA' count as missing",
        "items.csv: column 'p' holds prices such as '$1': read as 1",
        "items.csv: column 'l' holds lists such as \"['a']\": read as lists",
    ]
