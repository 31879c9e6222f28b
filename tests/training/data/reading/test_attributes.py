from datetime import date, time, timedelta

import numpy as np
import polars as pl
import pytest

from rqrec.service.catalogue.item import frame_of, items_of
from rqrec.training.bundling.bundle_files import payload_column
from rqrec.training.data.build import build_dataset
from rqrec.training.data.dataset import DataError
from rqrec.training.data.reading.attributes import usable_attributes
from rqrec.training.data.report import DataReport
from rqrec.training.features.features import FeatureSettings, item_features

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
        (pl.Series("x", [[["a"]], [["b"]]], dtype=pl.Array(pl.List(pl.Categorical), 1)), pl.List(pl.String)),
        (pl.Series("x", [["a"], ["b"]], dtype=pl.Array(pl.Categorical, 1)), pl.List(pl.String)),
        (pl.Series("x", [[date(2024, 1, 1)], None], dtype=pl.Array(pl.Date, 1)), pl.List(pl.Date)),
        (pl.Series("x", [[True], None], dtype=pl.Array(pl.Boolean, 1)), pl.List(pl.Boolean)),
        (pl.Series("x", [2**100, 1], dtype=pl.Int128), pl.String()),
    ],
)
def test_every_type_becomes_one_that_features_use(column: pl.Series, dtype: pl.DataType) -> None:
    assert usable(column)["x"].dtype == dtype


@pytest.mark.parametrize(
    "values",
    [
        [timedelta(1), None],
        [[timedelta(1)], [timedelta(2)]],
        [date(2024, 1, 1), None],
        [time(1), time(2)],
        [[time(1)], None],
        [[True], []],
        [2**64, 1],
        [1e39, 1.0],
        [[1.0, 2.0], [3.0, 4.0]],
        [[[1.0, 2.0]], None],
        [[], [1.0]],
        [{"seen": timedelta(1)}, None],
        [[{"n": 1}], [{"n": 2}]],
    ],
)
@pytest.mark.parametrize("width", [None, 1])
def test_a_type_is_refused_or_every_later_stage_can_use_it(values: list[object], width: int | None) -> None:
    column = pl.Series("x", values)
    if width and isinstance(column.dtype, pl.List) and set(column.drop_nulls().list.len()) == {width}:
        column = column.list.to_array(width)
    interactions = pl.LazyFrame({"user_id": ["u", "u"], "item_id": ["i0", "i1"]})
    try:
        dataset = build_dataset("shop", interactions, pl.DataFrame([IDS, column]))
    except DataError:
        return
    features = item_features(dataset, FeatureSettings(text_encoder="lsa"))
    assert np.isfinite(features.features_NE).all()
    shown = [payload_column(one) for one in dataset.items.iter_columns()]
    published = pl.DataFrame([one for one in shown if one.dtype != pl.Null])
    assert frame_of(items_of(published), published.schema).equals(published)


@pytest.mark.parametrize("empty", [{}, [{}], [[]], []])
def test_a_column_of_empty_objects_or_lists_is_dropped_and_this_is_said(empty: object) -> None:
    report = DataReport()
    assert usable(pl.Series("details", [empty, empty]), report=report).columns == ["item_id"]
    assert report.lines == ["items.parquet: column 'details' is dropped, because all its values are missing"]


def test_integers_of_more_than_64_bits_keep_their_digits_and_this_is_said() -> None:
    report = DataReport()
    column = pl.Series("x", [2**64, 1], dtype=pl.Int128)
    assert usable(column, report=report)["x"].to_list() == ["18446744073709551616", "1"]
    assert report.lines == ["items.parquet: column 'x' holds numbers of more than 64 bits: read as text"]


@pytest.mark.parametrize("name", ["*", "^.*$", "^a$b$"])
def test_a_field_may_have_a_name_that_polars_reads_as_a_pattern(name: str) -> None:
    fields = {name: 1, "b": 2}
    items = usable(pl.Series("d", [fields, None]), pl.Series("e", [[fields], None]))
    assert items.to_dict(as_series=False) == {
        "item_id": ["i0", "i1"],
        f"d.{name}": [1, None],
        "d.b": [2, None],
        f"e.{name}": [[1.0], None],
        "e.b": [[2.0], None],
    }


def test_an_object_of_many_fields_is_read_in_the_order_of_their_names() -> None:
    names = [f"f{number}" for number in range(40)]
    one, other = dict.fromkeys(names, 1), dict.fromkeys(names[::-1], 1)
    assert usable(pl.Series("o", [one] * 2)).columns == usable(pl.Series("o", [other] * 2)).columns


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


@pytest.mark.parametrize("number", [float("nan"), float("inf"), None, 3e38])
def test_a_vector_with_a_number_that_is_not_finite_or_too_large_is_refused_by_item(number: float | None) -> None:
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
