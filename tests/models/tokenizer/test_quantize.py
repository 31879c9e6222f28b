import pytest
import torch

from rqrec.models.tokenizer.quantize import QuantizeMode, Quantizer, pass_gradient


def two_codes(mode: QuantizeMode = QuantizeMode.STRAIGHT_THROUGH) -> Quantizer:
    quantizer = Quantizer(2, 2, mode=mode, commitment_weight=0.25)
    with torch.no_grad():
        quantizer.codebook_VD.copy_(torch.tensor([[0.0, 0.0], [4.0, 0.0]]))
    return quantizer


def test_picks_the_nearest_code_and_computes_both_losses() -> None:
    output = two_codes()(torch.tensor([[1.0, 1.0], [3.0, 0.0]]), 1.0)
    assert output.codes_B.tolist() == [0, 1]
    assert output.embeddings_BD.tolist() == [[0.0, 0.0], [4.0, 0.0]]
    # Squared errors averaged over the width: (1 + 1) / 2 and 1 / 2; commitment adds a quarter.
    torch.testing.assert_close(output.loss_B, torch.tensor([1.0, 0.5]) * 1.25)


def test_codebook_loss_moves_codes_and_commitment_loss_moves_rows() -> None:
    quantizer = two_codes()
    x = torch.tensor([[1.0, 0.0]], requires_grad=True)
    quantizer(x, 1.0).loss_B.sum().backward()
    assert x.grad is not None
    assert quantizer.codebook_VD.grad is not None
    torch.testing.assert_close(quantizer.codebook_VD.grad[0], torch.tensor([-1.0, 0.0]))
    torch.testing.assert_close(x.grad, torch.tensor([[0.25, 0.0]]))


@pytest.mark.parametrize("mode", [QuantizeMode.STRAIGHT_THROUGH, QuantizeMode.ROTATION_TRICK])
def test_hard_modes_pass_the_quantised_value_forward(mode: QuantizeMode) -> None:
    x, quantised = torch.randn(20, 4), torch.randn(20, 4)
    torch.testing.assert_close(pass_gradient(x, quantised, mode), quantised)


def test_straight_through_copies_the_gradient() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    upstream = torch.randn(3, 4)
    pass_gradient(x, torch.randn(3, 4), QuantizeMode.STRAIGHT_THROUGH).backward(upstream)
    torch.testing.assert_close(x.grad, upstream)


def test_rotation_trick_turns_the_gradient_as_it_turns_the_row() -> None:
    x = torch.tensor([[2.0, 0.0]], requires_grad=True)
    pass_gradient(x, torch.tensor([[0.0, 1.0]]), QuantizeMode.ROTATION_TRICK).backward(torch.tensor([[0.0, 1.0]]))
    # Along the quantised row the gradient comes back along x, scaled by |q| / |x|.
    torch.testing.assert_close(x.grad, torch.tensor([[0.5, 0.0]]))


def test_gumbel_mode_is_soft_in_training_and_hard_in_evaluation() -> None:
    quantizer = two_codes(QuantizeMode.GUMBEL_SOFTMAX)
    x = torch.tensor([[1.5, 0.0]], requires_grad=True)
    soft = quantizer.train()(x, 1.0).embeddings_BD
    assert 0 < float(soft.detach()[0, 0]) < 4
    soft.sum().backward()
    assert quantizer.codebook_VD.grad is not None
    assert quantizer.eval()(x, 1.0).embeddings_BD.tolist() == [[0.0, 0.0]]


def test_gumbel_mode_hardens_as_the_temperature_falls() -> None:
    torch.manual_seed(0)
    quantizer = Quantizer(8, 4, mode=QuantizeMode.GUMBEL_SOFTMAX, commitment_weight=0.25)
    x = torch.randn(64, 4)

    def distance_to_a_code(temperature: float) -> float:
        return float(quantizer.squared_distances(quantizer(x, temperature).embeddings_BD).min(1).values.mean().detach())

    assert distance_to_a_code(0.01) < 0.1 * distance_to_a_code(2.0)


def test_kmeans_places_codes_on_separate_clusters() -> None:
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    rows = (centres[:, None, :] + 0.1 * torch.randn(3, 30, 2)).flatten(0, 1)
    quantizer = Quantizer(3, 2, mode=QuantizeMode.STRAIGHT_THROUGH, commitment_weight=0.25)
    quantizer.initialise(rows, seed=0)
    assert float(quantizer.squared_distances(rows).detach().min(1).values.max()) < 1


def test_kmeans_with_fewer_distinct_rows_than_codes_hits_every_row() -> None:
    quantizer = Quantizer(5, 2, mode=QuantizeMode.STRAIGHT_THROUGH, commitment_weight=0.25)
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])
    quantizer.initialise(rows, seed=0)
    assert float(quantizer.squared_distances(rows).detach().min(1).values.max()) < 1e-5


def test_dead_codes_move_to_the_worst_served_rows() -> None:
    quantizer = two_codes()
    rows = torch.cat([torch.full((80, 2), 0.1), torch.tensor([[-9.0, -9.0]])])
    assert quantizer.replace_dead_codes(rows) == 1
    assert quantizer.codebook_VD.tolist() == [[0.0, 0.0], [-9.0, -9.0]]
    assert quantizer.replace_dead_codes(torch.tensor([[0.1, 0.0], [-9.0, -8.0]])) == 0


def test_refuses_a_codebook_of_one() -> None:
    with pytest.raises(ValueError, match="codebook_size must be > 1, got 1"):
        Quantizer(1, 2, mode=QuantizeMode.STRAIGHT_THROUGH, commitment_weight=0.25)
