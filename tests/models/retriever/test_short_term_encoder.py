import pytest
import torch
from torch.nn import functional as F

from rqrec.models.retriever.retriever import SHORT_TERM_SHARE, Retriever
from rqrec.models.retriever.sampled_items import SampledItems
from rqrec.models.retriever.short_term_encoder import CausalFilter, ShortTermEncoder
from rqrec.models.trie.trie import SemanticIdTrie
from tests.models.conftest import random_catalogue, random_retriever, random_short_term_config

ITEMS, WIDTH = 9, 6


@pytest.fixture
def encoder() -> ShortTermEncoder:
    torch.manual_seed(0)
    encoder = ShortTermEncoder(random_short_term_config(ITEMS, width=WIDTH)).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(std=0.5)
    return encoder


def test_a_filter_sums_the_latest_values_by_their_weights() -> None:
    causal = CausalFilter(2, taps=2, filters=1)
    causal.filters_RC.data, causal.shares_RF.data = torch.tensor([[10.0, 1.0]]), torch.tensor([[1.0, -2.0]])
    x_BTF = torch.tensor([[[1.0, 1.0], [2.0, 0.0], [3.0, 4.0]]])
    torch.testing.assert_close(causal(x_BTF), torch.tensor([[[21.0, -2.0], [32.0, -80.0]]]))


def test_the_filter_of_a_column_is_a_sum_of_shared_filters() -> None:
    causal = CausalFilter(2, taps=2, filters=2)
    causal.filters_RC.data = torch.tensor([[10.0, 1.0], [0.0, 100.0]])
    causal.shares_RF.data = torch.tensor([[1.0, 0.0], [1.0, 2.0]])
    torch.testing.assert_close(causal(torch.tensor([[[1.0, 1.0], [2.0, 2.0]]])), torch.tensor([[[121.0, 200.0]]]))


def test_the_future_changes_nothing(encoder: ShortTermEncoder) -> None:
    items_BTF = torch.randn(1, 5, WIDTH)
    changed_BTF = items_BTF.clone()
    changed_BTF[:, 3:] = torch.randn(1, 2, WIDTH)
    before, after = encoder.encode(items_BTF), encoder.encode(changed_BTF)
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3:], after[:, 3:])


def test_the_last_state_is_that_of_reading_all_positions(encoder: ShortTermEncoder) -> None:
    items_BTF, lengths_B = torch.randn(3, 6, WIDTH), torch.tensor([6, 1, 4])
    expected_BF = encoder.encode(items_BTF)[torch.arange(3), lengths_B - 1]
    torch.testing.assert_close(encoder.last(items_BTF.flatten(0, 1), lengths_B, 6), expected_BF)


@pytest.mark.parametrize("length", [1e-3, 1e3])
def test_the_length_of_an_item_vector_changes_nothing(encoder: ShortTermEncoder, length: float) -> None:
    items_BTF = torch.randn(2, 4, WIDTH)
    torch.testing.assert_close(encoder.encode(length * items_BTF), encoder.encode(items_BTF))


def test_the_loss_is_the_cross_entropy_of_cosines(encoder: ShortTermEncoder) -> None:
    history, targets = torch.tensor([[4, 2, -1], [1, 5, 3]]), torch.tensor([[2, -1, -1], [5, 3, 8]])
    states_BTF = encoder.encode(encoder.items(history.clamp_min(0)))
    cosines_BTN = F.normalize(states_BTF, dim=-1) @ F.normalize(encoder.items.weight, dim=-1).T
    relevance_RN = (cosines_BTN / encoder.config.temperature).flatten(0, 1)
    expected = F.cross_entropy(relevance_RN, targets.flatten(), ignore_index=-1)
    torch.testing.assert_close(encoder(history, targets, None), expected)


def test_weights_make_the_loss_a_weighted_mean(encoder: ShortTermEncoder) -> None:
    history = torch.tensor([[4, 2, 1]])
    first, last = (encoder(history, torch.tensor([one]), None) for one in ([2, -1, -1], [-1, -1, 7]))
    weighted = encoder(history, torch.tensor([[2, -1, 7]]), None, torch.tensor([[3.0, 0.0, 1.0]]))
    torch.testing.assert_close(weighted, 0.75 * first + 0.25 * last)


def test_a_sample_of_every_item_gives_the_loss_over_all_items(encoder: ShortTermEncoder) -> None:
    history, targets = torch.tensor([[4, 2, 1]]), torch.tensor([[2, -1, 7]])
    # Every item is drawn many times, so the correction is nearly zero.
    every_X, shares_N = torch.arange(ITEMS).repeat(200), torch.full((ITEMS,), 1 / ITEMS)
    sampled = SampledItems.from_batch(every_X, shares_N, targets=2, draws=len(every_X))
    whole = encoder(history, targets, None)
    torch.testing.assert_close(encoder(history, targets, sampled), whole)
    few = SampledItems.from_batch(torch.tensor([4, 2, 7, 7]), shares_N, targets=2, draws=1)
    assert not torch.allclose(encoder(history, targets, few), whole)


def test_a_query_weighs_both_relevances(trie: SemanticIdTrie) -> None:
    model = random_retriever(trie, long_term_width=0)
    short_term = model.short_term
    assert short_term is not None
    states_BD, short_term_BF = torch.randn(2, 8), torch.randn(2, 6)
    vectors_NW = model.item_vectors(random_catalogue(trie))
    queries_BW = model.weighted_queries(states_BD, short_term_BF)
    cosines_BN = F.normalize(short_term_BF, dim=-1) @ F.normalize(vectors_NW[:, 8:], dim=-1).T
    other_BN = model.relevance(states_BD, vectors_NW[:, :8])
    mean_BN = (1 - SHORT_TERM_SHARE) * other_BN + SHORT_TERM_SHARE * cosines_BN / short_term.config.temperature
    found_BN = queries_BW @ F.normalize(vectors_NW, dim=-1).T
    torch.testing.assert_close(found_BN, model.config.relevance_weight * mean_BN)


def test_an_item_vector_has_the_embedding_of_its_row_and_parts_of_equal_lengths(trie: SemanticIdTrie) -> None:
    model, catalogue = random_retriever(trie), random_catalogue(trie)
    assert model.short_term is not None
    vectors_ND, short_term_NF, long_term_NH = model.item_vectors(catalogue).split(model.config.part_widths, dim=1)
    embeddings_NF = model.short_term.items.weight[catalogue.rows_N.long()]
    torch.testing.assert_close(F.normalize(short_term_NF, dim=-1), F.normalize(embeddings_NF, dim=-1))
    for part in (short_term_NF, long_term_NH):
        torch.testing.assert_close(part.norm(dim=-1), vectors_ND.norm(dim=-1))


def test_it_stays_frozen_in_a_retriever_and_changes_no_other_start(trie: SemanticIdTrie) -> None:
    model = Retriever(random_retriever(trie).config).train()
    assert model.training
    assert model.short_term is not None
    assert not any(module.training for module in model.short_term.modules())
    assert not any(parameter.requires_grad for parameter in model.short_term.parameters())
    with_config = random_retriever(trie).config
    config = random_retriever(trie, short_term_width=0, long_term_width=0).config
    torch.manual_seed(0)
    with_one, number = Retriever(with_config).state_dict(), torch.rand(1)
    torch.manual_seed(0)
    without, same_number = Retriever(config).state_dict(), torch.rand(1)
    assert all(torch.equal(with_one[name], weight) for name, weight in without.items())
    assert number == same_number
