"""The gate measures new items against the items that the tokenizer was trained on."""

from dataclasses import replace

import numpy as np
import pytest

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.item_features import read_item_features
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.models.trie.semantic_ids import collision_ratio
from rqrec.training.features.features import Features
from rqrec.training.retrain.gate import Check, check_ids
from rqrec.training.retrain.settings import AllSettings
from rqrec.training.tokenize_items import SemanticIds


def checks(bundle: Bundle, features_ME: np.ndarray, codes_ML: np.ndarray) -> list[Check]:
    known_RE = read_item_features(bundle)
    ids = SemanticIds(np.concatenate([bundle.learned.codes_RL, codes_ML]), bundle.manifest.codebook_size, {})
    features = Features(np.concatenate([known_RE, features_ME]).astype(np.float32), bundle.featurizer)
    return check_ids(bundle, features, ids, AllSettings())


def copies(bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
    """New items, each with the content and the codes of an old one."""
    codes = bundle.learned.codes_RL[:30].copy()
    codes[:, -1] += 100
    return read_item_features(bundle)[:30] * bundle.featurizer.of_content_E, codes


def test_few_new_items_are_only_counted(bundle: Bundle) -> None:
    features, codes = copies(bundle)
    share, _ = checks(bundle, features[:2], codes[:2])
    assert share.value == 2 / 66
    assert share.is_passed


def test_the_share_counts_all_items_since_the_tokenizer_was_trained(bundle: Bundle) -> None:
    older = replace(bundle, manifest=replace(bundle.manifest, num_first_items=40))
    features, codes = copies(bundle)
    assert checks(older, features[:2], codes[:2])[0].value == 26 / 66


def test_items_with_the_codes_of_another_one_are_counted(bundle: Bundle) -> None:
    features, codes = copies(bundle)
    apart = codes.copy()
    apart[:, 0] = 16  # codes that no old item has
    before = collision_ratio(bundle.learned.codes_RL[:, :-1], codebook_size=99)
    assert checks(bundle, features[:1], apart[:1])[1].value == pytest.approx(64 * before / 65)
    assert checks(bundle, features, codes)[1].value >= 60 / 94


def test_content_that_the_tokenizer_tells_apart_agrees_with_the_codes(bundle: Bundle) -> None:
    features, codes = copies(bundle)
    agreement = checks(bundle, features, codes)[2]
    assert 0.8 < agreement.value < 1.5
    assert agreement.is_passed


def test_content_that_is_far_from_its_code_makes_a_full_training_due(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, codes = copies(bundle)

    def lost(_: object, features_NE: np.ndarray) -> np.ndarray:
        """All old items have one code, and each new item has another."""
        return np.maximum(np.arange(len(features_NE)) - 63, 0)[:, None]

    monkeypatch.setattr(ItemTokenizer, "codes", lost)
    monkeypatch.setattr(ItemTokenizer, "_try", lambda *_: None)
    agreement = checks(bundle, features, codes)[2]
    assert agreement.value == 0
    assert "at least 50.0% - a full training is due" in str(agreement)


@pytest.mark.parametrize(("value", "at_least", "passed"), [(0.2, False, True), (0.4, False, False), (0.2, True, False)])
def test_a_figure_is_compared_with_its_limit(value: float, at_least: bool, passed: bool) -> None:
    assert Check("share", value, 0.3, at_least=at_least).is_passed is passed
