import logging

import numpy as np
import pytest
import torch

from rqrec.models.tokenizer.config import FeatureBlock, FeatureKind, RqVaeConfig
from rqrec.models.tokenizer.quantize import QuantizeMode
from rqrec.models.tokenizer.rqvae import RqVae
from rqrec.models.trie.semantic_ids import collision_ratio
from rqrec.training.codebooks import AUTO, Codebooks, choose_codebooks
from rqrec.training.features.distinct import groups_of_equal_items


@pytest.mark.parametrize(
    ("items", "chosen"),
    [
        (1, (2, 1)),
        (2, (2, 1)),
        (16, (16, 1)),
        (17, (16, 3)),
        (64, (32, 3)),
        (300, (128, 3)),
        (384, (128, 3)),
        (385, (256, 3)),
        (1682, (256, 3)),  # MovieLens-100K
        (62_423, (256, 3)),  # MovieLens-25M
        (167_772, (256, 3)),
        (167_773, (256, 4)),
        (10_000_000, (256, 4)),
    ],
)
def test_codebooks_follow_from_the_number_of_different_items(items: int, chosen: tuple[int, int]) -> None:
    assert choose_codebooks(items, size=AUTO, levels=AUTO) == Codebooks(*chosen)


def test_integers_in_the_settings_override_the_choice() -> None:
    assert choose_codebooks(10_000_000, size=32, levels=2) == Codebooks(32, 2)
    assert choose_codebooks(10_000_000, size=32, levels=AUTO) == Codebooks(32, 6)
    assert choose_codebooks(300, size=AUTO, levels=5) == Codebooks(128, 5)


def test_the_choice_is_reported_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="rqrec"):
        choose_codebooks(300, size=AUTO, levels=AUTO)
        choose_codebooks(300, size=64, levels=3)
    (message,) = caplog.messages
    assert message.startswith("semantic IDs of 3 levels with 128 codes each, for 300 items with different features")


def test_items_are_equal_if_their_features_round_to_the_same() -> None:
    features_NE = np.array([[1.0, 0.25], [-1.0, 0.25], [1.00001, 0.25], [1.0, 0.26]], dtype=np.float32)
    assert groups_of_equal_items(features_NE).tolist() == [0, 1, 0, 2]
    assert groups_of_equal_items(np.zeros((3, 0), dtype=np.float32)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("items", [17, 48, 96, 192])
def test_three_levels_tell_apart_items_that_form_no_clusters(items: int) -> None:
    features_NE = torch.eye(items)  # all equally far from each other
    codebooks = choose_codebooks(items, size=AUTO, levels=AUTO)
    block = FeatureBlock("numbers", FeatureKind.CONTINUOUS, items)
    config = RqVaeConfig((block,), (8,), 128, *codebooks, QuantizeMode.GUMBEL_SOFTMAX, commitment_weight=0.25)
    model = RqVae(config)
    model.initialise(features_NE, seed=0)
    codes_NL = model.get_codebook_indices(features_NE).numpy()
    assert collision_ratio(codes_NL, codebook_size=codebooks.size) < 0.2
