"""Catalogues in which a level reproduces its rows: few items for the codebook, items that repeat, items all alike."""

import pytest
import torch
from torch import Tensor

from rqrec.models.tokenizer.config import FeatureBlock, FeatureKind, RqVaeConfig
from rqrec.models.tokenizer.quantize import QuantizeMode, Quantizer
from rqrec.models.tokenizer.rqvae import RqVae

WIDTH, STEPS = 16, 40
ALIKE = torch.full((5, WIDTH), 0.3)
TWO_KINDS = torch.eye(WIDTH)[torch.arange(7) % 2]


def distinct(rows: int) -> Tensor:
    return torch.randn(rows, WIDTH, generator=torch.Generator().manual_seed(rows))


def trained(features_NE: Tensor, codebook_size: int, mode: QuantizeMode) -> RqVae:
    """Trains as stage one does. Every loss and every gradient must be finite; warnings are errors in all tests."""
    torch.manual_seed(0)
    block = FeatureBlock("numbers", FeatureKind.CONTINUOUS, WIDTH)
    model = RqVae(RqVaeConfig((block,), (32,), WIDTH, codebook_size, 3, mode, commitment_weight=0.25))
    model.initialise(features_NE, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(STEPS):
        losses = model(features_NE, temperature=0.1 ** (step / STEPS))
        optimizer.zero_grad()
        losses.loss.backward()
        assert torch.isfinite(losses.loss)
        assert torch.isfinite(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0))
        optimizer.step()
        if step % 10 == 9:
            model.replace_dead_codes(features_NE)
    return model.eval()


@pytest.mark.parametrize("mode", list(QuantizeMode))
@pytest.mark.parametrize(
    ("items", "codes"), [(2, 2), (5, 5), (5, 4), (5, 256), (50, 32), (100, 64), (256, 256), (300, 256), (400, 256)]
)
def test_few_items_for_the_codebook_train_and_get_codes_of_their_own(
    items: int, codes: int, mode: QuantizeMode
) -> None:
    codes_NL = trained(distinct(items), codes, mode).get_codebook_indices(distinct(items))
    assert len(torch.unique(codes_NL, dim=0)) == items


@pytest.mark.parametrize("mode", list(QuantizeMode))
@pytest.mark.parametrize("codes", [2, 5, 16])
def test_items_that_repeat_train(codes: int, mode: QuantizeMode) -> None:
    """Equal items get codes of the same vector. Of equal codewords, rounding decides, which differs by processor."""
    for features_NE, kinds in ((ALIKE, 1), (TWO_KINDS, 2), (torch.zeros(3, WIDTH), 1)):
        model = trained(features_NE, codes, mode)
        levels = zip(model.quantizers, model.get_codebook_indices(features_NE).T, strict=True)
        vectors_ND = torch.stack([quantizer.codebook_VD[codes_N] for quantizer, codes_N in levels]).sum(0).detach()
        kind_N = torch.arange(len(features_NE)) % kinds
        torch.testing.assert_close(vectors_ND, vectors_ND[kind_N], atol=1e-3, rtol=0)
        assert kinds == 1 or float((vectors_ND[0] - vectors_ND[1]).norm()) > 0.1


def test_a_level_that_has_nothing_left_to_tell_apart_gives_code_0() -> None:
    features_NE = distinct(5)
    torch.manual_seed(0)
    block = FeatureBlock("numbers", FeatureKind.CONTINUOUS, WIDTH)
    model = RqVae(RqVaeConfig((block,), (32,), WIDTH, 8, 3, QuantizeMode.GUMBEL_SOFTMAX, 0.25))
    model.initialise(features_NE, seed=0)
    codes_NL = model.get_codebook_indices(features_NE)
    assert len(torch.unique(codes_NL[:, 0])) == 5
    assert not codes_NL[:, 1:].any()
    assert model.replace_dead_codes(features_NE) == 0


def test_rounding_of_the_distances_is_no_variance_to_divide_by() -> None:
    rows_BD = distinct(5) + 1000  # the terms of a squared distance are about 1e7 here, and cancel to any sign
    quantizer = Quantizer(5, WIDTH, mode=QuantizeMode.GUMBEL_SOFTMAX, commitment_weight=0.25, least_error=1.0)
    quantizer.initialise(rows_BD, seed=0)
    assert float(quantizer.squared_distances(rows_BD).detach().min()) <= 0
    output = quantizer.train()(rows_BD.requires_grad_(), 0.1)
    output.embeddings_BD.sum().backward()
    assert torch.isfinite(output.embeddings_BD).all()
    assert rows_BD.grad is not None
    assert torch.isfinite(rows_BD.grad).all()


def test_rows_that_differ_by_rounding_only_are_clustered_without_a_warning() -> None:
    rows_ND = distinct(4).repeat(10, 1) * (1 + 1e-7 * torch.arange(40).unsqueeze(1))
    quantizer = Quantizer(8, WIDTH, mode=QuantizeMode.GUMBEL_SOFTMAX, commitment_weight=0.25)
    quantizer.initialise(rows_ND, seed=0)
    assert float(quantizer.squared_distances(rows_ND).detach().min(1).values.max()) < 1e-3
