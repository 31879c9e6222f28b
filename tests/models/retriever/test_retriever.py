import numpy as np
import pytest
import torch

from rqrec.models.retriever.layers import Attention, Dropout
from rqrec.models.retriever.retriever import PADDING, Retriever, RetrieverOutput
from rqrec.models.retriever.sampled_items import SampledItems
from rqrec.models.trie.trie import SemanticIdTrie
from tests.models.conftest import random_catalogue, random_codes, random_retriever, score_every_item


def run(
    model: Retriever,
    trie: SemanticIdTrie,
    history: torch.Tensor,
    targets: torch.Tensor,
    *weights_and_types: torch.Tensor,
) -> RetrieverOutput:
    catalogue = random_catalogue(trie)
    everything = torch.arange(trie.num_leaves)
    sampled = SampledItems.from_batch(
        everything, catalogue.shares_N, targets=int((targets >= 0).sum()), draws=trie.num_leaves
    )
    output: RetrieverOutput = model(history, targets, sampled, catalogue, *weights_and_types)
    return output


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_probabilities_sum_to_one_over_the_catalogue(levels: int) -> None:
    codes_NL = random_codes(np.random.default_rng(levels), items=5, levels=levels, codebook_size=6)
    trie = SemanticIdTrie.build(codes_NL, codebook_size=6)
    log_probs_N = score_every_item(random_retriever(trie), trie, np.array([0, 3])).log_probs_N
    assert np.exp(log_probs_N).sum() == pytest.approx(1.0, abs=1e-5)


def test_a_catalogue_of_one_item_is_certain() -> None:
    trie = SemanticIdTrie.build(np.array([[2, 1]]), codebook_size=3)
    log_probs_NL = score_every_item(random_retriever(trie), trie, np.array([0])).log_probs_NL
    assert log_probs_NL.sum() == pytest.approx(0.0, abs=1e-6)


def test_loss_is_the_mean_over_all_positions(trie: SemanticIdTrie, retriever: Retriever) -> None:
    history, targets = torch.tensor([[4, 9, 2]]), torch.tensor([[9, 2, 31]])
    output = run(retriever, trie, history, targets)
    exact = [score_every_item(retriever, trie, history[0, : t + 1].numpy()) for t in range(3)]
    by_hand = [one.log_probs_NL[target].sum() for one, target in zip(exact, targets[0], strict=True)]
    assert output.generation_loss.item() == pytest.approx(-np.mean(by_hand), rel=1e-5)
    torch.testing.assert_close(output.level_losses_L.sum(), output.generation_loss)
    torch.testing.assert_close(output.loss.detach(), output.generation_loss + output.relevance_loss)


def test_relevance_among_many_draws_is_that_among_all_items(trie: SemanticIdTrie, retriever: Retriever) -> None:
    history, targets = torch.tensor([[4, 9, 2]]), torch.tensor([[9, 2, 31]])
    catalogue = random_catalogue(trie)
    with torch.no_grad():
        vectors_ND = retriever.encode(torch.arange(trie.num_leaves), catalogue)
        relevance_MN = retriever.relevance(retriever.history(vectors_ND[history])[0], vectors_ND)
    expected = torch.nn.functional.cross_entropy(relevance_MN, targets[0])
    # Every item is drawn many times, so the correction is nearly zero.
    everything = torch.arange(trie.num_leaves).repeat(20)
    sampled = SampledItems.from_batch(everything, catalogue.shares_N, targets=3, draws=len(everything))
    loss = retriever(history, targets, sampled, catalogue).relevance_loss
    torch.testing.assert_close(loss, expected, atol=1e-4, rtol=0)


def test_padding_changes_nothing(trie: SemanticIdTrie, retriever: Retriever) -> None:
    alone = run(retriever, trie, torch.tensor([[4, 9]]), torch.tensor([[9, 2]]))
    padded = run(retriever, trie, torch.tensor([[4, 9, PADDING, PADDING]]), torch.tensor([[9, 2, PADDING, PADDING]]))
    torch.testing.assert_close(alone.loss, padded.loss)


def test_weights_make_the_loss_a_weighted_mean(trie: SemanticIdTrie, retriever: Retriever) -> None:
    history, targets = torch.tensor([[4, 9, 2]]), torch.tensor([[9, PADDING, 31]])
    first, last = (
        run(retriever, trie, history, torch.tensor([one])) for one in ([9, PADDING, PADDING], [PADDING, PADDING, 31])
    )
    weighted = run(retriever, trie, history, targets, torch.tensor([[3.0, 0.0, 1.0]]))
    torch.testing.assert_close(weighted.generation_loss, 0.75 * first.generation_loss + 0.25 * last.generation_loss)
    equal, plain = (
        run(retriever, trie, history, targets, torch.full((1, 3), 2.0)),
        run(retriever, trie, history, targets),
    )
    torch.testing.assert_close(equal.loss, plain.loss)


def test_a_type_adds_its_vector_to_the_item(trie: SemanticIdTrie) -> None:
    typed = random_retriever(trie, num_event_types=2)
    items_BTD, types_BT = torch.randn(1, 3, 8), torch.tensor([[2, 0, 1]])
    assert typed.history.types is not None
    vectors_YD = typed.history.types.weight
    torch.testing.assert_close(typed.history.typed(items_BTD, types_BT)[0], items_BTD[0] + vectors_YD[[2, 0, 1]])
    torch.testing.assert_close(typed.history.typed(items_BTD, None)[0], items_BTD[0] + vectors_YD[[0, 0, 0]])
    untyped = random_retriever(trie)
    assert untyped.history.typed(items_BTD, types_BT) is items_BTD


def test_types_start_without_effect_and_change_nothing_else(trie: SemanticIdTrie) -> None:
    torch.manual_seed(0)
    plain = Retriever(random_retriever(trie).config).state_dict()
    torch.manual_seed(0)
    typed = Retriever(random_retriever(trie, num_event_types=3).config).state_dict()
    assert not typed.pop("history.types.weight").any()
    assert plain.keys() == typed.keys()


def test_the_future_changes_nothing(retriever: Retriever) -> None:
    items = torch.randn(1, 5, 8)
    changed = items.clone()
    changed[:, 3:] = torch.randn(1, 2, 8)
    before, after = retriever.history(items), retriever.history(changed)
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3:], after[:, 3:])


def test_cached_decoding_equals_decoding_all_levels_at_once(trie: SemanticIdTrie, retriever: Retriever) -> None:
    states_MD = torch.randn(4, 8)
    codes_ML = torch.from_numpy(trie.codes_NL[:4])
    decoding = retriever.decoder.begin(states_MD)
    beams_M = torch.arange(4, dtype=torch.int32)
    swapped_M = beams_M.flip(0)
    for level, expected_MV in enumerate(retriever.decoder(states_MD, codes_ML)):
        if level > 0:
            # The two beams swap at every level, so the rows of their KV cache must swap too.
            beams_M = beams_M.flip(0)
            codes_M = codes_ML[beams_M, level - 1].int()
            decoding = retriever.decoder.step(decoding, swapped_M, codes_M, level)
        torch.testing.assert_close(decoding.logits_RV, expected_MV[beams_M])


def test_the_last_state_is_that_of_reading_all_positions(retriever: Retriever) -> None:
    items_BTD, lengths_B = torch.randn(3, 6, 8), torch.tensor([6, 1, 4])
    expected_BD = retriever.history(items_BTD)[torch.arange(3), lengths_B - 1]
    torch.testing.assert_close(retriever.history.last(items_BTD.flatten(0, 1), lengths_B, 6), expected_BD)


def test_learns_a_deterministic_sequence(trie: SemanticIdTrie) -> None:
    model = random_retriever(trie)
    history, targets = torch.tensor([[1, 7, 20], [30, 2, 11]]), torch.tensor([[7, 20, 5], [2, 11, 39]])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        loss = run(model, trie, history, targets).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    exact = score_every_item(model, trie, history[0].numpy())
    assert int(exact.log_probs_N.argmax()) == int(exact.scores_N.argmax()) == 5


def test_of_the_generation_gradient_a_share_reaches_the_history_encoder(trie: SemanticIdTrie) -> None:
    history, targets = torch.tensor([[4, 9, 2]]), torch.tensor([[9, 2, 31]])
    losses, gradients = [], []
    for share in (0.0, 0.25, 1.0):
        model = random_retriever(trie, generation_gradient=share)
        output = run(model, trie, history, targets)
        output.loss.backward()
        losses.append(output.loss.detach())
        gradients.append([model.history.norm.weight.grad, model.decoder.norm.weight.grad])
    torch.testing.assert_close(losses[0], losses[2])
    (none, decoder), (quarter, same), (whole, also) = gradients
    assert none is not None
    assert whole is not None
    torch.testing.assert_close(quarter, none + 0.25 * (whole - none))
    assert not torch.allclose(none, whole)
    torch.testing.assert_close(decoder, same)
    torch.testing.assert_close(decoder, also)


def test_dropout_drops_the_stated_share_and_keeps_the_mean() -> None:
    dropped = Dropout(0.25).train()(torch.ones(512, 512))
    assert float((dropped == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.01)
    assert torch.equal(Dropout(0.25).eval()(torch.ones(3)), torch.ones(3))


def test_refuses_sizes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="width must be a multiple of num_heads, got 6 and 4"):
        Attention(6, 4)
    with pytest.raises(ValueError, match=r"dropout must lie in \[0, 1\), got 1"):
        Dropout(1)
