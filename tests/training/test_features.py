from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest

from rqrec.models.tokenizer.rqvae import FeatureKind
from rqrec.training.data.dataset import Dataset, build_dataset
from rqrec.training.data.splits import Sequences
from rqrec.training.features.collaborative import cooccurrence_vectors
from rqrec.training.features.features import Features, FeatureSettings, item_features
from rqrec.training.features.text import encode_texts

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


def test_items_without_any_attribute_are_refused() -> None:
    with pytest.raises(ValueError, match="no usable attribute"):
        item_features(dataset({"asin": ["B001", "B002"]}), SETTINGS)


def test_similar_titles_lie_close() -> None:
    titles = ["Star Trek First Contact", "Star Trek Generations", "Cinderella and the Mouse", "Cinderella Returns"]
    vectors = encode_texts([*titles, ""], encoder="lsa", lsa_dim=3, seed=0)
    unit = vectors[:4] / np.linalg.norm(vectors[:4], axis=1, keepdims=True)
    similarity = unit @ unit.T
    assert similarity[0, 1] > similarity[0, 2]
    assert similarity[2, 3] > similarity[1, 3]
    assert not vectors[4].any()


def test_texts_without_a_common_term_give_an_empty_column() -> None:
    assert not encode_texts(["abc", "xyz"], encoder="lsa", lsa_dim=3, seed=0).any()


def test_another_encoder_may_be_named() -> None:
    vectors = encode_texts(["a", "bcd"], encoder=f"{__name__}:LengthEncoder", lsa_dim=3, seed=0)
    assert vectors.tolist() == [[1.0], [3.0]]


class LengthEncoder:
    def encode(self, sentences: list[str], *, batch_size: int, show_progress_bar: bool) -> np.ndarray:
        return np.array([[len(sentence)] for sentence in sentences])


def test_a_missing_encoder_says_what_to_install() -> None:
    with pytest.raises(ImportError, match="pip install nowhere"):
        encode_texts(["a"], encoder="nowhere:load", lsa_dim=3, seed=0)


def test_items_of_the_same_sequences_lie_close() -> None:
    rows = [[0, 1, 2], [2, 1, 0], [1, 0, 2], [3, 4, 5], [5, 3, 4], [4, 5, 3]] * 3
    train = Sequences(np.array(rows, dtype=np.int32).ravel(), np.arange(0, len(rows) * 3 + 1, 3))
    vectors = cooccurrence_vectors(train, 7, dim=4, seed=0)
    similarity = vectors @ vectors.T
    assert similarity[0, 1] > similarity[0, 4] + 0.1
    assert not vectors[6].any()


def test_co_occurrence_sees_training_interactions_only() -> None:
    settings = FeatureSettings(min_label_count=2, collaborative_dim=2, lsa_dim=2)
    base = [(f"u{u}", str((u + t) % 6), t) for u in range(6) for t in range(5)]
    held_out_changed = [(u, "5" if t == 4 else "0" if t == 3 else i, t) for u, i, t in base]
    items = {"year": [1, 2, 3, 4, 5, 6]}
    one, other = (item_features(dataset(items, rows), settings) for rows in (base, held_out_changed))
    assert np.array_equal(one.features_NE, other.features_NE)
