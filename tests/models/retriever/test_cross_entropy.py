import pytest
import torch
from torch.nn import functional as F

from rqrec.models.retriever.cross_entropy import STATES_AT_ONCE, candidate_cross_entropy

MANY = STATES_AT_ONCE + 5


@pytest.mark.parametrize("states", [1, MANY])
@pytest.mark.parametrize("has_offsets", [False, True])
def test_loss_and_gradients_are_those_of_the_plain_cross_entropy(states: int, has_offsets: bool) -> None:
    torch.manual_seed(0)
    states_MF, candidates_SF = torch.randn(states, 4, dtype=torch.double), torch.randn(7, 4, dtype=torch.double)
    targets_M, weights_M = torch.randint(7, (states,)), torch.rand(states, dtype=torch.double)
    offsets_S = torch.randn(7, dtype=torch.double) if has_offsets else None
    logits_MS = (one := states_MF.clone().requires_grad_()) @ (other := candidates_SF.clone().requires_grad_()).T
    if offsets_S is not None:
        logits_MS = logits_MS - offsets_S
    expected = weights_M @ F.cross_entropy(logits_MS, targets_M, reduction="none")
    (3 * expected).backward()
    states_MF.requires_grad_()
    candidates_SF.requires_grad_()
    loss = candidate_cross_entropy(states_MF, candidates_SF, targets_M, weights_M, offsets_S)
    (3 * loss).backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(states_MF.grad, one.grad)
    torch.testing.assert_close(candidates_SF.grad, other.grad)


def test_large_logits_give_a_finite_loss() -> None:
    states_MF, candidates_SF = torch.tensor([[1e4]]), torch.tensor([[1.0], [-1.0]])
    loss = candidate_cross_entropy(states_MF, candidates_SF, torch.tensor([0]), torch.ones(1), None)
    assert loss.item() == 0.0
