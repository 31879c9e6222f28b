"""The gate measures new items against the items that the tokenizer was trained on."""

from dataclasses import replace

import numpy as np
import pytest

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.item_features import read_item_features
from rqrec.training.features.features import Features
from rqrec.training.retrain.gate import Check, check_ids
from rqrec.training.retrain.settings import RetrainSettings
from rqrec.training.tokenize_items import SemanticIds


def checks(bundle: Bundle, features_ME: np.ndarray, codes_ML: np.ndarray) -> list[Check]:
    known_RE = read_item_features(bundle)
    ids = SemanticIds(np.concatenate([bundle.learned.codes_RL, codes_ML]), bundle.manifest.codebook_size, {})
    features = Features(np.concatenate([known_RE, features_ME]).astype(np.float32), bundle.featurizer)
    return check_ids(bundle, features, ids, RetrainSettings())


def copies(bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
    """New items, each with the features and the codes of an old one."""
    codes = bundle.learned.codes_RL[:30].copy()
    codes[:, -1] += 100
    return read_item_features(bundle)[:30], codes


def test_few_new_items_are_only_counted(bundle: Bundle) -> None:
    features, codes = copies(bundle)
    (check,) = checks(bundle, features[:2], codes[:2])
    assert check.value == 2 / 66
    assert check.is_passed


def test_the_share_counts_all_items_since_the_tokenizer_was_trained(bundle: Bundle) -> None:
    older = replace(bundle, manifest=replace(bundle.manifest, num_first_items=40))
    features, codes = copies(bundle)
    assert checks(older, features[:2], codes[:2])[0].value == 26 / 66


def test_collisions_of_new_items_are_counted(bundle: Bundle) -> None:
    features, codes = copies(bundle)
    assert checks(bundle, features, codes)[1].value == 1.0
    apart = np.array([[15, first, second, 0][-codes.shape[1] :] for first in range(6) for second in range(5)])
    apart[:, 0] = 16  # codes that no item has
    assert checks(bundle, features, apart)[1].value <= 0.5


def test_codes_that_do_not_agree_with_content_make_a_full_training_due(bundle: Bundle) -> None:
    features, codes = copies(bundle)
    assert checks(bundle, features, codes)[2].is_passed
    codes[:, 0] = 16
    agreement = checks(bundle, features, codes)[2]
    assert agreement.value == 0
    assert not agreement.is_passed
    assert "at least 50.0% - a full training is due" in str(agreement)


@pytest.mark.parametrize(("value", "at_least", "passed"), [(0.2, False, True), (0.4, False, False), (0.2, True, False)])
def test_a_figure_is_compared_with_its_limit(value: float, at_least: bool, passed: bool) -> None:
    assert Check("share", value, 0.3, at_least=at_least).is_passed is passed
