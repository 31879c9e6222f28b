"""The bonus of a bundle follows what users chose since, if there are enough of their choices."""

from dataclasses import replace

import numpy as np
import pytest

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.item_features import read_item_features
from rqrec.training.data.splits import Holdout, Sequences
from rqrec.training.features.features import Features
from rqrec.training.retrain.asking.bonus import FEW, refitted_bonus
from rqrec.training.tokenize_items import SemanticIds
from tests.training.retrain.conftest import Shop


@pytest.fixture(scope="module")
def bundle(timed_shop: Shop) -> Bundle:
    """The bundle, as if the first training had found little use in following items."""
    read = timed_shop.bundle
    return replace(read, manifest=replace(read.manifest, following_weight=0.5))


def following(bundle: Bundle, asked: Holdout) -> float:
    """The weight of following items after a fit to test cases."""
    ids = SemanticIds(bundle.learned.codes_RL, bundle.manifest.codebook_size, {})
    features = Features(np.array(read_item_features(bundle)), bundle.featurizer)
    return refitted_bonus(bundle, features, ids, asked, beam_width=20).following or 0.0


def choices(bundle: Bundle, count: int) -> Holdout:
    """Users with one item, who choose what followed it most strongly in the data that the bundle has learnt."""
    assert bundle.transitions is not None
    table = bundle.transitions.reordered(bundle.learned.leaf_of_row_R)
    items = np.arange(count) % len(bundle.items)
    strongest = [
        table.items_P[begin + table.strengths_P[begin:end].argmax()] if end > begin else 0
        for begin, end in zip(table.starts_N[:-1], table.starts_N[1:], strict=True)
    ]
    return Holdout(Sequences.from_arrays(items.astype(np.int32), np.arange(count + 1)), np.array(strongest)[items])


def test_users_who_choose_what_followed_before_raise_its_weight(bundle: Bundle) -> None:
    assert following(bundle, choices(bundle, 4 * FEW)) > 2 * 0.5


def test_few_choices_leave_the_bonus_as_it_is(bundle: Bundle) -> None:
    assert following(bundle, choices(bundle, FEW - 1)) == 0.5
