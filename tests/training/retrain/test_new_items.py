"""New items get the bundle's attributes and types, and collision codes by the rule of the service."""

import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.tokenizer.featurizer import Given
from rqrec.training.data.dataset import DataError
from rqrec.training.retrain.new_items import TEXT_VECTOR, features_of, fitted_to_bundle, with_new_codes


def film(**values: object) -> pl.DataFrame:
    return pl.DataFrame([{"item_id": "new", "title": "A film", **values}])


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), max_size=12), st.sets(st.integers(0, 5), max_size=4))
def test_a_new_item_gets_the_smallest_free_collision_code(new: list[tuple[int, int]], taken: set[int]) -> None:
    known = np.array([[9, 9, 0], *([0, 0, code] for code in sorted(taken))], dtype=np.int64)
    codes = with_new_codes(known, np.array(new, dtype=np.int64).reshape(-1, 2))
    used = {tuple(one) for one in known.tolist()}
    for *prefix, last in codes[len(known) :].tolist():
        assert last == next(code for code in range(99) if (*prefix, code) not in used)
        used.add((*prefix, last))
    assert codes[: len(known)].tolist() == known.tolist()
    assert codes[len(known) :, :2].tolist() == [list(one) for one in new]


def test_items_of_the_bundle_are_left_out_and_the_last_row_of_an_item_counts(bundle: Bundle) -> None:
    known = bundle.items.head(2)
    fitted = fitted_to_bundle([("a", known), ("b", film(year=1990)), ("c", film(year=1991))], bundle)
    assert fitted.select("item_id", "year").rows() == [("new", 1991)]


def test_other_attributes_are_left_out_and_missing_ones_are_null(bundle: Bundle) -> None:
    fitted = fitted_to_bundle([("items.csv", film(colour="red"))], bundle)
    assert fitted.columns == [*bundle.items.columns, TEXT_VECTOR]
    assert fitted.row(0, named=True)["genres"] is None


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("year", "nineteen-ninety", "nineteen-ninety"),
        ("year", 12.99, "12.99"),
        ("year", "012", "012"),
        ("year", 1e30, "1e+30"),
        ("year", True, "True"),
        ("title", ["a", "b"], "['a', 'b']"),
        ("title", False, "False"),
        ("genres", "Drama", "Drama"),
        ("genres", [True], "[True]"),
    ],
)
def test_a_value_that_the_type_cannot_hold_is_refused(bundle: Bundle, name: str, value: object, shown: str) -> None:
    table = pl.concat(
        [film().select("item_id"), film(**{name: value}).with_columns(item_id=pl.lit("wrong"))], how="diagonal"
    )
    with pytest.raises(DataError) as refused:
        fitted_to_bundle([("shop/items.csv", table)], bundle)
    assert f"shop/items.csv: the attribute {name!r} of new items must be of the type" in str(refused.value)
    assert re.search(rf"item 'wrong' has [\"']{re.escape(shown)}[\"'] \(.*; 1 such items\)", str(refused.value))


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [("year", 1995.0, 1995), ("year", "1995", 1995), ("title", 7, "7"), ("title", 7.0, "7"), ("title", 7.5, "7.5")],
)
def test_a_type_is_converted_if_no_value_changes(bundle: Bundle, name: str, value: object, kept: object) -> None:
    assert fitted_to_bundle([("items.csv", film(**{name: value}))], bundle)[name].to_list() == [kept]


@pytest.mark.parametrize(
    ("value", "kept"), [(7, 7.0), (0.1, 0.1), (2**53, 2.0**53), (float("nan"), None), ("0.25", 0.25)]
)
def test_a_number_with_a_fraction_may_be_written_as_another_number(bundle: Bundle, value: object, kept: object) -> None:
    priced = replace(bundle, items=bundle.items.with_columns(price=pl.lit(1.5)))
    assert fitted_to_bundle([("items.csv", film(price=value))], priced)["price"].to_list() == [kept]


@pytest.mark.parametrize("value", [2**53 + 1, "nan", "1e400", True, [0.5, 0.5]])
def test_a_number_that_would_lose_digits_is_refused(bundle: Bundle, value: object) -> None:
    priced = replace(bundle, items=bundle.items.with_columns(price=pl.lit(1.5)))
    with pytest.raises(DataError, match="'price' of new items must be of the type Float64"):
        fitted_to_bundle([("items.csv", film(price=value))], priced)


def test_a_vector_of_another_length_and_one_in_place_of_words_are_refused(bundle: Bundle) -> None:
    table = film().with_columns(pl.Series("genres", [[0.5, 0.5]], dtype=pl.Array(pl.Float32, 2)))
    with pytest.raises(DataError, match="'genres' of new items must be of the type List"):
        fitted_to_bundle([("items.csv", table)], bundle)
    table = film().with_columns(pl.Series(TEXT_VECTOR, [[0.5, 0.5]], dtype=pl.Array(pl.Float32, 2)))
    with pytest.raises(DataError, match="'text_vector' of new items must be of the type Array"):
        fitted_to_bundle([("items.csv", table)], bundle)


class Tokenizer:
    """The part of an item tokenizer that features need."""

    text_width = 2

    def features(self, items: pl.DataFrame, text: object) -> object:
        return text

    def embed(self, items: pl.DataFrame) -> object:
        return Given(np.full((len(items), 2), 7, dtype=np.float32), np.ones(len(items), dtype=np.bool_))


def test_a_given_text_vector_is_used_and_other_texts_are_embedded() -> None:
    vectors = pl.Series(TEXT_VECTOR, [[1.0, 2.0], None], dtype=pl.Array(pl.Float32, 2))
    text = features_of(pl.DataFrame([vectors]), Tokenizer())  # type: ignore[arg-type]
    assert text.vectors_NW.tolist() == [[1, 2], [7, 7]]  # type: ignore[attr-defined]
    assert text.present_N.tolist() == [True, True]  # type: ignore[attr-defined]
