import numpy as np
import pytest
import torch

from rqrec.models.tokenizer.config import FeatureBlock, FeatureKind, RqVaeConfig
from rqrec.models.tokenizer.quantize import QuantizeMode
from rqrec.models.tokenizer.rqvae import RqVae
from rqrec.training.evaluation.rqvae_quality import explained_by_block, explained_by_levels, measure_rqvae


def model_of(features_BE: torch.Tensor, *, levels: int) -> RqVae:
    blocks = (FeatureBlock("size", FeatureKind.CONTINUOUS, 2), FeatureBlock("kind", FeatureKind.MULTI_HOT, 1, 0.1))
    torch.manual_seed(0)
    model = RqVae(RqVaeConfig(blocks, (4,), 3, 4, levels, QuantizeMode.GUMBEL_SOFTMAX, 0.25)).eval()
    model.initialise(features_BE, seed=0)
    return model


def test_four_kinds_of_items_are_told_apart_by_one_level_of_four_codes() -> None:
    kinds = [[0.0, 0.0, 0.0], [0.0, 9.0, 1.0], [9.0, 0.0, 0.0], [9.0, 9.0, 1.0]]
    features_BE = torch.tensor(kinds * 8)
    model = model_of(features_BE, levels=1)
    measures = measure_rqvae(model, features_BE)
    assert measures["perplexity_0"] == pytest.approx(4.0)
    assert measures["unused_0"] == 0
    assert measures["residual_0"] == pytest.approx(0, abs=1e-3)
    assert measures["explained_size"] == pytest.approx(1.0, abs=1e-4)
    only_one = measure_rqvae(model, features_BE[:1].expand(8, -1))
    assert only_one["perplexity_0"] == pytest.approx(1.0)
    assert only_one["unused_0"] == pytest.approx(0.75)
    assert [name for name in only_one if name.startswith("explained")] == []  # nothing varies


def test_further_levels_explain_more_and_the_mean_explains_nothing() -> None:
    features_BE = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32))
    features_BE[:, 2] = (features_BE[:, 2] > 0).float()
    model = model_of(features_BE, levels=3)
    sizes = [one["size"] for one in explained_by_levels(model, features_BE)]
    assert sizes == sorted(sizes)
    assert sizes[0] > 0.3
    assert measure_rqvae(model, features_BE)["explained_size"] == pytest.approx(sizes[-1])
    middle_BD = model.encode(features_BE).mean(0, keepdim=True).expand(64, -1)
    assert explained_by_block(model, features_BE, middle_BD)["size"] == pytest.approx(0, abs=1e-3)
