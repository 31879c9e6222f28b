from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest

from rqrec.models.tokenizer.config import FeatureKind
from rqrec.models.tokenizer.featurizer import Featurizer
from rqrec.training.data.build import build_dataset
from rqrec.training.data.dataset import Dataset
from rqrec.training.features.column_use import Use
from rqrec.training.features.features import Features, FeatureSettings, item_features

SETTINGS = FeatureSettings(min_label_count=2, collaborative_dim=0, lsa_dim=2)


def dataset(items: Mapping[str, Any], rows: list[tuple[str, str, int]] | None = None) -> Dataset:
    frame = pl.DataFrame({"item_id": [str(i) for i in range(len(next(iter(items.values()))))], **items})
    interactions = pl.LazyFrame(rows or [("u", "0", 0)], schema=["user_id", "item_id", "timestamp"], orient="row")
    return build_dataset("t", interactions, frame)


def column(features: Features, name: str) -> np.ndarray:
    begin = 0
    for block in features.blocks:
        if block.name == name:
            return features.features_NE[:, begin : begin + block.width]
        begin += block.width
    raise AssertionError(f"no block {name} among {[block.name for block in features.blocks]}")


def test_labels_are_multi_hot_with_rare_ones_left_out() -> None:
    features = item_features(dataset({"genres": [["a", "b"], ["a"], ["b", "rare"], None]}), SETTINGS)
    assert features.blocks[0].kind is FeatureKind.MULTI_HOT
    assert column(features, "genres").tolist() == [[1, 1], [1, 0], [0, 1], [0, 0]]


def test_a_missing_number_stands_at_the_mean_and_is_marked() -> None:
    features = item_features(dataset({"year": [1990.0, None, 2000.0, float("nan")]}), SETTINGS)
    assert column(features, "year").ravel().tolist() == [-1, 0, 1, 0]
    assert column(features, "year_present").ravel().tolist() == [1, 0, 1, 0]


def test_a_missing_poster_stands_at_the_mean_and_is_marked() -> None:
    posters = pl.Series([[1.0, 0.0], None, [3.0, 2.0]], dtype=pl.Array(pl.Float32, 2))
    features = item_features(dataset({"poster": posters}), SETTINGS)
    assert column(features, "poster").tolist() == [[-1, -1], [0, 0], [1, 1]]
    assert column(features, "poster_present").ravel().tolist() == [1, 0, 1]


def test_nothing_is_marked_where_nothing_is_missing() -> None:
    features = item_features(dataset({"year": [1, 2, 3]}), SETTINGS)
    assert [block.name for block in features.blocks] == ["year"]


def test_machine_names_are_no_text() -> None:
    items = {"asin": ["B001", "B002", "B003", "B004"], "price": [1.0, 2.0, 3.0, 4.0]}
    assert [block.name for block in item_features(dataset(items), SETTINGS).blocks] == ["price"]


def test_items_without_any_attribute_are_told_apart_at_random_and_said_so(caplog: pytest.LogCaptureFixture) -> None:
    features = item_features(dataset({"asin": ["B001", "B002"]}), SETTINGS)
    assert [block.name for block in features.blocks] == ["identity"]
    assert len(np.unique(features.features_NE, axis=0)) == 2
    assert features.without_identity_NE.shape == (2, 0)
    assert not features.featurizer.of_content_E.any()
    assert "2 of 2 items have the same features as another item (largest group: 2)" in caplog.text


def test_many_equal_items_are_told_apart_at_random_and_the_others_are_not() -> None:
    features = item_features(dataset({"price": [1.0] * 9 + [float(price) for price in range(2, 20)]}), SETTINGS)
    own_NW, drawn_NW = features.without_identity_NE, features.features_NE[:, features.without_identity_NE.shape[1] :]
    assert len(np.unique(own_NW, axis=0)) == 19
    assert len(np.unique(drawn_NW[:9], axis=0)) == 9
    assert len(np.unique(drawn_NW[9:], axis=0)) == 1


def test_random_vectors_weigh_more_the_more_items_need_them() -> None:
    few = item_features(dataset({"price": [1.0] * 9 + [float(price) for price in range(2, 29)]}), SETTINGS)
    many = item_features(dataset({"price": [1.0] * 27 + [float(price) for price in range(2, 11)]}), SETTINGS)
    assert (few.blocks[-1].weight, many.blocks[-1].weight) == pytest.approx((0.025, 0.075))


def test_a_few_equal_items_are_left_to_the_collision_level() -> None:
    features = item_features(dataset({"price": [1.0] * 8 + [float(price) for price in range(2, 20)]}), SETTINGS)
    assert [block.name for block in features.blocks] == ["price"]


def test_co_occurrence_sees_training_interactions_only() -> None:
    settings = FeatureSettings(min_label_count=2, collaborative_dim=2, lsa_dim=2)
    base = [(f"u{u}", str((u + t) % 6), t) for u in range(6) for t in range(5)]
    held_out_changed = [(u, "5" if t == 4 else "0" if t == 3 else i, t) for u, i, t in base]
    items = {"year": [1, 2, 3, 4, 5, 6]}
    one, other = (item_features(dataset(items, rows), settings) for rows in (base, held_out_changed))
    assert np.array_equal(one.features_NE, other.features_NE)


def test_categories_make_the_same_features_as_strings() -> None:
    plain = pl.Series(["red thing", "blue thing", "red thing", "blue thing", None])
    strings = item_features(dataset({"colour": plain}), SETTINGS)
    categories = item_features(dataset({"colour": plain.cast(pl.Categorical)}), SETTINGS)
    assert categories.featurizer == strings.featurizer
    assert np.array_equal(categories.features_NE, strings.features_NE)


def test_decimals_make_the_same_features_as_numbers() -> None:
    plain = pl.Series([1.5, 2.0, None])
    decimals = item_features(dataset({"price": plain.cast(pl.Decimal(10, 2))}), SETTINGS)
    assert np.array_equal(decimals.features_NE, item_features(dataset({"price": plain}), SETTINGS).features_NE)


def test_a_constant_is_left_out_also_if_its_values_differ_by_rounding() -> None:
    noise = np.random.default_rng(0).normal(scale=1e-8, size=6)
    items = {"year": [1, 2, 3, 4, 5, 6], "price": (19.99 + noise).tolist(), "shop": ["ours"] * 6}
    assert [block.name for block in item_features(dataset(items), SETTINGS).blocks] == ["year"]


def test_vectors_that_differ_by_rounding_are_not_scaled_up() -> None:
    noise = np.random.default_rng(0).normal(scale=1e-8, size=(6, 2))
    items = {"year": [1, 2, 3, 4, 5, 6], "poster": pl.Series((19.99 + noise).tolist(), dtype=pl.Array(pl.Float32, 2))}
    features = item_features(dataset(items), SETTINGS)
    assert all(np.abs(features.features_NE[:, 1:]).ravel() < 1e-5)


def weights(features: Features) -> dict[str, float]:
    return {block.name: block.weight for block in features.blocks}


def test_all_numbers_together_weigh_what_is_set_and_copies_share_it() -> None:
    items = {"title": ["a red shoe", "a blue hat", "a red hat", "a green coat"], "a": [1, 2, 3, 4], "b": [4, 1, 3, 2]}
    found = weights(item_features(dataset({**items, "copy": [2, 4, 6, 8]}), SETTINGS))
    assert found["a"] == pytest.approx(found["copy"])
    assert found["a"] + found["copy"] + found["b"] == pytest.approx(SETTINGS.number_weight)


def test_numbers_weigh_no_more_than_labels_text_and_vectors_together() -> None:
    items = {"sale": [True, False, True, False], "a": [1, 2, 3, 4], "b": [4, 1, 3, 2]}
    found = weights(item_features(dataset(items), SETTINGS))
    assert found["a"] + found["b"] == pytest.approx(found["sale"])


def test_the_marks_of_missing_numbers_weigh_little() -> None:
    items = {"sale": [True, False, True, False], "a": [1, None, 3, 4], "b": [4, 1, None, 2]}
    found = weights(item_features(dataset(items), SETTINGS))
    assert found["a_present"] == pytest.approx(0.1 * found["a"])


def test_a_column_is_used_as_chosen() -> None:
    items = {"year": [1990, 1990, 2000, 2000], "code": ["A1", "B2", "C3", "D4"]}
    uses = {"year": Use.LABELS, "code": Use.TEXT}
    features = item_features(dataset(items), replace(SETTINGS, use=uses))
    assert column(features, "year").tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]
    assert features.featurizer.text_attributes == ("code",)


def test_a_written_item_gets_the_features_that_training_gave_it() -> None:
    frame = {
        "title": ["a red shoe", "a blue hat", "a red hat", "a green coat"],
        "price": [1.0, None, 3.5, 1e9],
        "brand_id": [7, 7, 9, 9],
        "sale": [True, False, True, None],
    }
    features = item_features(dataset(frame), SETTINGS)
    bundled, items = Featurizer.from_json(features.featurizer.to_json()), dataset(frame).items
    text = features.featurizer.given_block("text")
    assert text is not None
    of_text = slice(features.features_NE.shape[1] - text.width, None)
    for row in range(len(items)):
        written = bundled.transform(pl.DataFrame(items.rows(named=True)[row : row + 1], schema=items.schema), {})
        assert np.array_equal(written[0, : of_text.start], features.features_NE[row, : of_text.start])
