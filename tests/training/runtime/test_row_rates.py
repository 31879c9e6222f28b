import numpy as np
import pytest
import torch
from torch import nn

from rqrec.training.runtime.row_rates import set_row_rates

RATES = np.array([1, 3, 1, 0.5], dtype=np.float32)


def moved(rates: dict[str, np.ndarray]) -> torch.Tensor:
    """How far the rows of a table move in one step of Adam, from the same start."""
    torch.manual_seed(0)
    table = nn.Embedding(4, 2)
    optimizer = torch.optim.AdamW(table.parameters(), lr=0.1, weight_decay=0.0)
    set_row_rates(optimizer, table, rates)
    begin = table.weight.detach().clone()
    for _ in range(2):
        optimizer.zero_grad()
        (table.weight * torch.arange(8.0).view(4, 2)).sum().backward()
        optimizer.step()
    return table.weight.detach() - begin


def test_a_row_moves_its_multiple_and_others_as_without() -> None:
    plain, scaled = moved({}), moved({"weight": RATES})
    torch.testing.assert_close(scaled, plain * torch.from_numpy(RATES)[:, None], atol=1e-6, rtol=1e-5)
    assert torch.equal(scaled[[0, 2]], plain[[0, 2]])


def test_rates_of_another_table_are_refused() -> None:
    with pytest.raises(ValueError, match="a rate for each of 4 rows, got 3"):
        moved({"weight": RATES[:3]})
