"""The report names a loss of the RQ-VAE that ends above its start, and its cause."""

import numpy as np
import pytest
import torch

from rqrec.models.tokenizer.config import FeatureBlock, FeatureKind, RqVaeConfig
from rqrec.models.tokenizer.quantize import QuantizeMode
from rqrec.models.tokenizer.rqvae import RqVae
from rqrec.training.report.sections.losses import steps_of_replacements
from rqrec.training.report.sections.overview import BAD, GOOD, of_rqvae
from rqrec.training.runtime.curves import Curve
from rqrec.training.train_rqvae import REPLACED, RqVaeSettings, rqvae_work


def curve(*values: float) -> Curve:
    return Curve(20 * np.arange(len(values)), np.array(values))


@pytest.mark.parametrize(
    ("losses", "replaced", "kind", "words"),
    [
        ((0.05, 0.03, 0.02), (0, 0, 0), GOOD, "from 0.050 to 0.020."),
        ((0.05, 1.0, 0.2), (0, 9, 0), BAD, "It rose most at step 20, where dead codes were replaced"),
        ((0.05, 0.1, 0.2), (0, 0, 0), BAD, "from 0.050 to 0.200: lower RqVaeSettings.learning_rate."),
        ((0.05, 0.06, 0.2), (0, 9, 0), BAD, "from 0.050 to 0.200: lower RqVaeSettings.learning_rate."),
        ((0.05, 1.0, 0.04), (0, 9, 0), GOOD, "from 0.050 to 0.040."),
    ],
)
def test_a_loss_above_its_start_stands_out(
    losses: tuple[float, ...], replaced: tuple[float, ...], kind: str, words: str
) -> None:
    curves = {"measured/loss": curve(*losses), f"measured/{REPLACED}": curve(*replaced)}
    ((found, text),) = of_rqvae(curves)
    assert found == kind
    assert words in text


def test_a_run_of_an_older_release_has_no_replacements() -> None:
    assert steps_of_replacements({"measured/loss": curve(0.1, 0.2)}) == []
    assert of_rqvae({}) == []


def test_replaced_codes_are_counted_until_the_next_measurement() -> None:
    torch.manual_seed(0)
    block = FeatureBlock("size", FeatureKind.CONTINUOUS, 4, 1.0)
    mode = QuantizeMode.STRAIGHT_THROUGH
    config = RqVaeConfig((block,), (8,), embed_dim=4, codebook_size=8, num_levels=1, mode=mode, commitment_weight=0.25)
    model, features_NE = RqVae(config), torch.randn(32, 4)
    work = rqvae_work(model, features_NE, RqVaeSettings(steps=100, dead_code_every_steps=10))
    assert work.after_step is not None
    assert work.measure is not None
    with torch.no_grad():
        model.quantizers[0].codebook_VD.fill_(9.0)  # all codes but one are dead
    work.after_step(10)
    assert work.measure(15) == {}
    assert work.measure(20)[REPLACED] == 7
    assert work.measure(40)[REPLACED] == 0
