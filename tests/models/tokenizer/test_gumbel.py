import pytest
import torch

from rqrec.models.tokenizer.gumbel import gumbel_softmax


def test_rows_are_positive_and_sum_to_one() -> None:
    weights = gumbel_softmax(torch.randn(50, 7), 0.7)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(50))


def test_low_temperature_draws_from_the_categorical_distribution() -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.2])
    generator = torch.Generator().manual_seed(0)
    draws = gumbel_softmax(probabilities.log().expand(20000, 3), 0.01, generator=generator)
    torch.testing.assert_close(draws.mean(0), probabilities, atol=0.01, rtol=0)
    assert (draws.max(1).values > 0.9).float().mean() > 0.9


def test_high_temperature_is_almost_uniform() -> None:
    weights = gumbel_softmax(torch.tensor([[3.0, 0.0, -3.0]]), 1000.0)
    torch.testing.assert_close(weights, torch.full((1, 3), 1 / 3), atol=0.02, rtol=0)


def test_gradient_reaches_the_logits() -> None:
    logits = torch.zeros(4, 3, requires_grad=True)
    gumbel_softmax(logits, 1.0)[:, 0].sum().backward()
    assert logits.grad is not None
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_refuses_a_temperature_that_is_not_positive(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be > 0"):
        gumbel_softmax(torch.zeros(1, 2), temperature)
