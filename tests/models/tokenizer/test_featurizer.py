"""The featurizer of a bundle: what it makes of a written item, and which JSON it refuses."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from rqrec.models.tokenizer.featurizer import Featurizer, FittedBlock, Source, as_written, texts_of

PRICE = FittedBlock("price", Source.NUMBER, knots=(1.0, 10.0, 1000.0), scores=(-1.0, 0.0, 1.0), is_marked=True)


def features(block: FittedBlock, values: pl.Series) -> list[list[float]]:
    rows: list[list[float]] = Featurizer((block,), ()).transform(pl.DataFrame({"price": values}), {}).tolist()
    return rows


def test_a_number_is_scored_between_its_knots_and_at_the_ends_beyond_them() -> None:
    scored = features(PRICE, pl.Series([1.0, 5.5, 505.0, 1e300, -5.0, None, float("nan"), float("inf")]))
    assert scored == [[-1, 1], [-0.5, 1], [0.5, 1], [1, 1], [-1, 1], [0, 0], [0, 0], [0, 0]]


def test_a_number_of_bundle_format_9_is_scaled_by_mean_and_deviation() -> None:
    text = '{"blocks": [{"name": "price", "source": "number", "mean_W": [10.0], "scale": 5.0}], "text_attributes": []}'
    featurizer = Featurizer.from_json(text)
    assert featurizer.transform(pl.DataFrame({"price": [20]}), {}).tolist() == [[2.0]]


def test_numbers_in_text_are_read_where_a_block_wants_numbers() -> None:
    assert features(PRICE, pl.Series(["10", "about 10", None])) == [[0, 1], [0, 0], [0, 0]]


def test_labels_of_numbers_do_not_depend_on_decimals() -> None:
    block = FittedBlock("price", Source.LABELS, labels=("7", "8.5"))
    assert features(block, pl.Series([7, 8])) == [[1, 0], [0, 0]]
    assert features(block, pl.Series([7.0, 8.5, float("nan"), None])) == [[1, 0], [0, 1], [0, 0], [0, 0]]


def test_numbers_are_written_as_people_write_them() -> None:
    assert as_written(pl.Series([1990.0, 0.5, None])).to_list() == ["1990", "0.5", None]
    assert texts_of(pl.DataFrame({"year": [1990, None]}), ["year"]) == ["Year: 1990", ""]


@pytest.mark.parametrize(
    "block",
    [
        replace(PRICE, knots=(1.0, 1.0, 2.0)),
        replace(PRICE, knots=(1.0, float("inf"), float("inf"))),
        replace(PRICE, scores=(0.0,)),
        replace(PRICE, scores=(0.0, float("nan"), 1.0)),
    ],
)
def test_knots_that_do_not_rise_are_refused(block: FittedBlock) -> None:
    with pytest.raises(ValueError, match="the knots of 'price' must rise"):
        Featurizer.from_json(Featurizer((block,), ()).to_json())


def test_a_featurizer_is_the_same_after_json() -> None:
    featurizer = Featurizer((PRICE,), ("title",))
    assert Featurizer.from_json(featurizer.to_json()) == featurizer
    assert np.isfinite(json.loads(featurizer.to_json())["blocks"][0]["scores"]).all()
