from typing import Any

import polars as pl
import pytest

from rqrec.training.data.dataset import DataError
from rqrec.training.features.column_use import ColumnUse, Use, decide_uses

VECTORS = pl.Series([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]], dtype=pl.Array(pl.Float32, 2))


def decide(values: Any, chosen: Use | None = None, name: str = "x") -> ColumnUse:
    items = pl.DataFrame({"item_id": ["a", "b", "c", "d"], name: values})
    (use,) = decide_uses(items, {} if chosen is None else {name: chosen}, min_label_count=2)
    return use


@pytest.mark.parametrize(
    ("values", "use", "in_text"),
    [
        (["red", "red", "blue", "blue"], Use.LABELS, True),
        ([["red", "new"], ["red"], None, []], Use.LABELS, True),
        (["A1", "A1", "B2", "B2"], Use.LABELS, False),
        ([True, False, None, True], Use.LABELS, False),
        ([1.5, 2.5, None, 2.5], Use.NUMBER, False),
        (["a red shoe", "a blue hat", "a coat", None], Use.TEXT, True),
        (["red", "blue", "green", "grey"], Use.TEXT, True),
        ([["red"], ["blue"], ["green"], None], Use.TEXT, True),  # no label that two items share
        (["A1", "A1 ", "B2", "C3"], Use.IGNORE, False),
        (VECTORS, Use.VECTOR, False),
        (["A1", "B2", "C3", "D4"], Use.IGNORE, False),
    ],
)
def test_values_decide(values: Any, use: Use, in_text: bool) -> None:
    decided = decide(values)
    assert (decided.use, decided.in_text) == (use, in_text)
    assert decided.reason


def test_numbers_named_as_ids_are_labels_if_they_repeat() -> None:
    assert decide([7, 7, 9, 9], name="brand_id") == ColumnUse("brand_id", Use.LABELS, "ids of groups, by its name")


@pytest.mark.parametrize(
    ("values", "chosen", "in_text"),
    [
        ([1990, 1990, 2000, None], Use.LABELS, False),
        ([1990, 1990, 2000, None], Use.TEXT, True),
        (["1", "2.5", None, "1e3"], Use.NUMBER, False),
        ([True, False, None, True], Use.NUMBER, False),
        (["A1", "B2", "C3", "D4"], Use.TEXT, True),
        (["red", "red", "blue", "blue"], Use.TEXT, True),
        (["red", "red", "blue", "blue"], Use.IGNORE, False),
        (VECTORS, Use.IGNORE, False),
        (VECTORS, Use.VECTOR, False),
    ],
)
def test_the_user_decides(values: Any, chosen: Use, in_text: bool) -> None:
    assert decide(values, chosen) == ColumnUse("x", chosen, "chosen by FeatureSettings.use", in_text)


@pytest.mark.parametrize(
    ("values", "chosen", "value"),
    [
        (["1", None, "Nike", "3"], Use.NUMBER, r"row 3 \(item 'c'\) holds 'Nike' \(String\)"),
        ([None, ["a"], ["b"], ["c"]], Use.NUMBER, r"row 2 \(item 'b'\) holds \"\['a'\]\" \(List\(String\)\)"),
        (VECTORS, Use.LABELS, r"row 1 \(item 'a'\) holds '\[1.0, 2.0\]'"),
        (VECTORS, Use.TEXT, r"row 1 \(item 'a'\)"),
        ([None, 5, 6, 7], Use.VECTOR, r"row 2 \(item 'b'\) holds '5' \(Int64\)"),
        ([True, False, None, True], Use.TEXT, r"row 1 \(item 'a'\) holds 'True' \(Boolean\)"),
    ],
)
def test_an_impossible_use_shows_the_first_value_that_does_not_fit(values: Any, chosen: Use, value: str) -> None:
    with pytest.raises(DataError, match=f"FeatureSettings.use = {{'x': '{chosen}'}} does not fit the column: {value}"):
        decide(values, chosen)


def test_an_unknown_column_is_refused() -> None:
    items = pl.DataFrame({"item_id": ["a"], "title": ["t"]})
    with pytest.raises(DataError, match=r"must name attributes of the items, but \['titel'\] are none: .* \['title'\]"):
        decide_uses(items, {"titel": Use.TEXT}, min_label_count=2)
    with pytest.raises(DataError, match=r"\['item_id'\] are none"):
        decide_uses(items, {"item_id": Use.TEXT}, min_label_count=2)
