from datetime import date

import polars as pl
import pytest

from rqrec.training.data.dataset import DataError
from rqrec.training.data.reading.attributes import usable_attributes
from rqrec.training.data.report import DataReport

IDS = pl.Series("item_id", ["i0", "i1"])


def usable(*columns: pl.Series, report: DataReport | None = None) -> pl.DataFrame:
    return usable_attributes(pl.DataFrame([IDS, *columns]), path="items.parquet", report=report or DataReport())


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        (pl.Series("x", ["red", None], dtype=pl.Categorical), pl.String()),
        (pl.Series("x", ["red", None], dtype=pl.Enum(["red"])), pl.String()),
        (pl.Series("x", ["1.50", "2"]).cast(pl.Decimal(10, 2)), pl.Float64()),
        (pl.Series("x", [["red"], []], dtype=pl.List(pl.Categorical)), pl.List(pl.String)),
        (pl.Series("x", [["a", "b"], ["c", "d"]], dtype=pl.Array(pl.String, 2)), pl.List(pl.String)),
        (pl.Series("x", [[1, 2], [3, 4]]), pl.Array(pl.Float32, 2)),
        (pl.Series("x", [[["a"], ["b", "a"]], None]), pl.List(pl.String)),
    ],
)
def test_every_type_becomes_one_that_features_use(column: pl.Series, dtype: pl.DataType) -> None:
    assert usable(column)["x"].dtype == dtype


def test_leaves_of_objects_are_attributes() -> None:
    report = DataReport()
    details = pl.Series("details", [{"brand": "A", "size": {"cm": 3}}, None])
    images = pl.Series("images", [[{"url": "u"}, {"url": "v"}], []])
    items = usable(details, images, report=report)
    assert items.to_dict(as_series=False) == {
        "item_id": ["i0", "i1"],
        "details.brand": ["A", None],
        "images.url": [["u", "v"], []],
        "details.size.cm": [3, None],
    }
    assert (
        report.lines[0] == "items.parquet: column 'details' holds objects: read as attributes such as 'details.brand'"
    )


def test_empty_columns_are_dropped_and_dates_are_kept_and_both_are_said() -> None:
    report = DataReport()
    items = usable(pl.Series("x", [None, None]), pl.Series("d", [date(2024, 1, 1), None]), report=report)
    assert items.columns == ["item_id", "d"]
    assert report.lines == [
        "items.parquet: column 'x' is dropped, because all its values are missing",
        "items.parquet: column 'd' (Date) is not used as a feature",
    ]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), None])
def test_a_vector_with_a_number_that_is_not_finite_is_refused_by_item(number: float | None) -> None:
    with pytest.raises(DataError, match=r"items.parquet: column 'emb' .* but 1 vectors .* in item 'i1'"):
        usable(pl.Series("emb", [[1.0, 2.0], [3.0, number]]))


def test_a_missing_vector_is_no_fault() -> None:
    assert usable(pl.Series("emb", [None, [3.0, 4.0]]))["emb"].to_list() == [None, [3.0, 4.0]]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.Series("x", [b"a", b"b"]), r"column 'x' must hold strings, .* got Binary: .*ignored_columns = \('x',\)"),
        (pl.Series("x", [[[1.0]], [[2.0]]]), r"column 'x' must hold strings, numbers, .* got List\(List\(Float64\)\)"),
        (pl.Series("^x$", ["a", "b"]), r"the name '\^x\$', which polars reads as a pattern"),
    ],
)
def test_refuses_what_no_feature_can_use(column: pl.Series, message: str) -> None:
    with pytest.raises(DataError, match=message):
        usable(column)


def test_a_field_of_an_object_can_be_ignored() -> None:
    items = pl.DataFrame([IDS, pl.Series("o", [{"x": 1, "thumbnail": b"a"}, None])])
    usable_items = usable_attributes(items, path="items.parquet", report=DataReport(), ignored=["o.thumbnail"])
    assert usable_items.columns == ["item_id", "o.x"]


@pytest.mark.parametrize("name", ["*", "^x$", "^.*$"])
def test_only_the_column_of_an_ignored_name_is_left_out(name: str) -> None:
    items = pl.DataFrame([IDS, pl.Series("x", [1, 2]), pl.Series(name, [3, 4])])
    assert usable_attributes(items, path="x", report=DataReport(), ignored=[name]).columns == ["item_id", "x"]


def test_every_column_with_a_fault_is_named() -> None:
    report = DataReport()
    with pytest.raises(DataError, match="column 'y' must hold strings"):
        usable(pl.Series("x", [b"a", b"b"]), pl.Series("ok", [1, 2]), pl.Series("y", [b"a", b"b"]), report=report)
    assert [fault.partition(" must")[0] for fault in report.faults] == ["items.parquet: column 'x'"]


def test_refuses_a_leaf_with_the_name_of_an_attribute() -> None:
    with pytest.raises(DataError, match="two attributes have the name 'o.x': rename one"):
        usable(pl.Series("o.x", [1, 2]), pl.Series("o", [{"x": 1}, None]))
