from dataclasses import asdict, replace

import pytest
import torch

from rqrec.models.tokenizer.config import FeatureBlock, FeatureKind, RqVaeConfig
from rqrec.models.tokenizer.quantize import QuantizeMode
from rqrec.models.tokenizer.rqvae import RqVae

BLOCKS = (FeatureBlock("genres", FeatureKind.MULTI_HOT, 3), FeatureBlock("poster", FeatureKind.CONTINUOUS, 5))
CONFIG = RqVaeConfig(
    blocks=BLOCKS,
    hidden_widths=(16,),
    embed_dim=4,
    codebook_size=8,
    num_levels=3,
    mode=QuantizeMode.STRAIGHT_THROUGH,
    commitment_weight=0.25,
)


def features(rows: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    genres = (torch.rand(rows, 3, generator=generator) > 0.5).float()
    return torch.cat([genres, torch.randn(rows, 5, generator=generator)], dim=1)


def model(mode: QuantizeMode = QuantizeMode.STRAIGHT_THROUGH) -> RqVae:
    torch.manual_seed(0)
    return RqVae(replace(CONFIG, mode=mode))


def test_losses_have_the_stated_shapes_and_add_up() -> None:
    losses = model()(features(), temperature=1.0)
    assert losses.embs_norm.shape == (64, 3)
    torch.testing.assert_close(losses.loss, losses.reconstruction_loss + losses.rqvae_loss)
    assert 0 < float(losses.p_unique_ids) <= 1


def test_unique_ids_are_counted_within_the_batch() -> None:
    twice = features(8).repeat(2, 1)
    assert float(model()(twice, temperature=1.0).p_unique_ids) <= 0.5


def test_reconstruction_is_cross_entropy_on_labels_and_squared_error_on_numbers() -> None:
    rqvae = model().eval()
    with torch.no_grad():
        for parameter in rqvae.decoder.parameters():
            parameter.zero_()  # logits and values are all 0
    x = features()
    expected = torch.log(torch.tensor(2.0)) + x[:, 3:].square().mean()
    torch.testing.assert_close(rqvae(x, temperature=1.0).reconstruction_loss.detach(), expected)


def test_decoder_reads_the_sum_of_all_levels() -> None:
    rqvae = model().eval()
    x = features()
    quantised = rqvae.quantise(rqvae.encode(x))
    torch.testing.assert_close(
        quantised.embeddings_BLD.sum(1),
        sum((level.codebook_VD[quantised.codes_BL[:, i]] for i, level in enumerate(rqvae.quantizers)), torch.zeros(1)),
    )
    decoded: list[torch.Tensor] = []
    rqvae.decoder.register_forward_hook(lambda _module, inputs, _output: decoded.append(inputs[0]))
    rqvae(x, temperature=1.0)
    torch.testing.assert_close(decoded[0], quantised.embeddings_BLD.sum(1), atol=1e-5, rtol=1e-5)


def test_each_level_quantises_what_the_levels_before_left() -> None:
    rqvae = model().eval()
    rqvae.initialise(features(), seed=0)
    latent = rqvae.encode(features())
    quantised = rqvae.quantise(latent)
    errors = [(latent - quantised.embeddings_BLD[:, :level].sum(1)).square().mean() for level in range(4)]
    assert errors[0] > errors[1] > errors[2] > errors[3]


def test_codes_without_losses_are_the_codes_of_evaluation() -> None:
    rqvae = model().eval()
    x = features()
    assert torch.equal(rqvae.get_codebook_indices(x), rqvae.quantise(rqvae.encode(x)).codes_BL)


@pytest.mark.parametrize("mode", list(QuantizeMode))
def test_every_mode_trains_encoder_codebooks_and_decoder(mode: QuantizeMode) -> None:
    rqvae = model(mode)
    x = features()
    rqvae.initialise(x, seed=0)
    optimizer = torch.optim.Adam(rqvae.parameters(), lr=1e-2)
    first = float(rqvae(x, temperature=0.3).reconstruction_loss.detach())
    for _ in range(150):
        losses = rqvae(x, temperature=0.3)
        optimizer.zero_grad()
        losses.loss.backward()
        assert all(p.grad is not None for p in rqvae.parameters())
        optimizer.step()
    assert float(losses.reconstruction_loss.detach()) < 0.8 * first


def test_config_survives_a_passage_through_fields() -> None:
    assert RqVaeConfig.from_fields(asdict(CONFIG)) == CONFIG


def test_refuses_features_of_another_width() -> None:
    with pytest.raises(ValueError, match="features must have 8 columns, got 7"):
        model()(torch.zeros(2, 7), temperature=1.0)
