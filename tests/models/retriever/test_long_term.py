"""The long-term vectors add to an item's score how the history's items agree with it, wherever they stand."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from rqrec.models.retriever.config import LongTermConfig
from rqrec.models.retriever.long_term import LongTermVectors
from rqrec.models.trie.trie import SemanticIdTrie
from tests.models.conftest import random_catalogue, random_retriever, score_every_item

ITEMS, WIDTH = 20, 4


@pytest.fixture
def vectors() -> LongTermVectors:
    made = LongTermVectors(LongTermConfig(ITEMS, WIDTH)).weighted(5.0)
    torch.manual_seed(0)
    made.items.weight.normal_()
    made.items.weight /= made.items.weight.norm(dim=1).max()
    return made


def test_vectors_with_slack_have_unit_length(vectors: LongTermVectors) -> None:
    assert_close(vectors.with_slack(torch.arange(ITEMS)).norm(dim=1), torch.ones(ITEMS))


def test_a_query_gives_the_weighted_sum_of_the_products_with_all_history_items(vectors: LongTermVectors) -> None:
    unit_NH, items_NG = vectors.with_slack(torch.arange(ITEMS)), vectors.items.weight
    history_BT, lengths_B = torch.tensor([[3, 7, 3], [5, 0, 0]]), torch.tensor([3, 1])
    lengths_R1 = torch.tensor([[2.0], [0.1], [30], [1], [5], [5]])  # padding has any content
    queries_BH = vectors.query(unit_NH[history_BT.flatten()] * lengths_R1, lengths_B, 3)
    expected_BN = 5 * torch.stack([2 * items_NG[3] + items_NG[7], items_NG[5]]) @ items_NG.T
    assert_close(queries_BH @ unit_NH.T, expected_BN)


def test_the_score_of_an_item_grows_by_its_part(trie: SemanticIdTrie) -> None:
    with_part = random_retriever(trie)
    without, history = random_retriever(trie), np.array([0, 3, 5])
    without.set_long_term(None)
    assert with_part.long_term is not None
    items_NG = with_part.long_term.items.weight[torch.from_numpy(trie.row_of_leaf_N).long()]
    part_N = with_part.long_term.weight * (items_NG @ items_NG[history].sum(0))
    scores_N = [score_every_item(model, trie, history).scores_N for model in (with_part, without)]
    np.testing.assert_allclose(scores_N[0] - scores_N[1], part_N.numpy(), atol=1e-5)


def test_training_neither_changes_nor_reads_them(trie: SemanticIdTrie) -> None:
    model = random_retriever(trie).train()
    assert model.long_term is not None
    assert not any(weight.requires_grad for weight in model.long_term.parameters())
    model.long_term.items.weight.fill_(torch.nan)
    assert torch.isfinite(model.encode(torch.arange(3), random_catalogue(trie))).all()
