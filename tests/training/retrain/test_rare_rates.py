import numpy as np
import pytest
import torch
from torch import nn

from rqrec.models.array_types import FloatArray
from rqrec.models.bundle.bundle import Bundle
from rqrec.training.retrain.grown_model import OWN, PREFIXES, bundle_retriever
from rqrec.training.retrain.rare_rates import COMMON, at_rates, item_rates, retriever_rates

RATES = np.array([1, 3, 1, 0.5], dtype=np.float32)


def test_an_item_learns_the_faster_the_less_was_learnt_of_it(bundle: Bundle) -> None:
    learnt_R = bundle.learned.popularity_R
    rates_N = item_rates(bundle, len(learnt_R) + 2, most=5)
    assert rates_N[-2:].tolist() == [5, 5]  # new items
    by_count = rates_N[: len(learnt_R)][np.argsort(learnt_R)]
    assert (np.diff(by_count) <= 0).all()
    assert (rates_N[: len(learnt_R)][learnt_R + 1 >= COMMON] == 1).all()
    assert (item_rates(bundle, len(learnt_R), most=1) == 1).all()


def test_the_retriever_has_a_rate_for_every_row(bundle: Bundle) -> None:
    rates = retriever_rates(bundle, bundle.learned.trie, most=5)
    model = bundle_retriever(bundle)
    assert set(rates) == {OWN, PREFIXES} & {name for name, _ in model.named_parameters()}
    for name, rates_P in rates.items():
        assert len(rates_P) == len(model.get_parameter(name))
        assert rates_P.min() >= 1
        assert rates_P.max() <= 5


def moved(rates: dict[str, FloatArray]) -> torch.Tensor:
    """How far the rows of a table move in two steps of Adam, from the same start."""
    torch.manual_seed(0)
    table = nn.Embedding(4, 2)
    optimizer = torch.optim.AdamW(table.parameters(), lr=0.1, weight_decay=0.0)
    begin = table.weight.detach().clone()
    with at_rates(table, rates):
        for _ in range(2):
            optimizer.zero_grad()
            (table.weight * torch.arange(8.0).view(4, 2)).sum().backward()
            optimizer.step()
    return table.weight.detach() - begin


def test_a_row_moves_its_multiple_and_others_as_without() -> None:
    plain, scaled = moved({}), moved({"weight": RATES})
    torch.testing.assert_close(scaled, plain * torch.from_numpy(RATES)[:, None], atol=1e-6, rtol=1e-5)
    assert torch.equal(scaled[[0, 2]], plain[[0, 2]])
    assert torch.equal(moved({}), plain)  # the rates end with their block


def test_rates_of_another_table_are_refused() -> None:
    with pytest.raises(ValueError, match="a rate for each of 4 rows, got 3"):
        moved({"weight": RATES[:3]})
