"""New items get the bundle's attributes and types, and collision codes by the rule of the service."""

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
    fitted = fitted_to_bundle([known, film(year=1990), film(year=1991)], bundle)
    assert fitted.select("item_id", "year").rows() == [("new", 1991)]


def test_other_attributes_are_left_out_and_missing_ones_are_null(bundle: Bundle) -> None:
    fitted = fitted_to_bundle([film(colour="red")], bundle)
    assert fitted.columns == [*bundle.items.columns, TEXT_VECTOR]
    assert fitted.row(0, named=True)["genres"] is None


def test_a_value_of_another_type_is_refused(bundle: Bundle) -> None:
    with pytest.raises(DataError, match="'year' of new items must be of the type Int"):
        fitted_to_bundle([film(year="nineteen-ninety")], bundle)


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
