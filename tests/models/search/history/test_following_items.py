from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rqrec.models.array_types import IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.exclusion import EligibleTensors
from rqrec.models.search.history.following_items import JOINING, FollowingTensors, Joining
from rqrec.models.search.history.transitions import KEPT, RECENT, WEAK, Following, Transitions
from rqrec.models.search.new.new_item_scores import NewItemScores
from rqrec.models.search.padding import pad
from rqrec.models.search.ranked import Found
from rqrec.models.search.ranking import SearchOutput
from rqrec.models.trie.trie import SemanticIdTrie

TRIE = SemanticIdTrie.build(np.array([[0, 1], [0, 3], [1, 0], [1, 1], [2, 0]]), codebook_size=4)
VECTORS = torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1], [1, 0]])
CPU = torch.device("cpu")
# Item 1 was followed by 2 and 3, item 3 by 2 and 4.
TABLE = Transitions(
    np.array([0, 0, 2, 2, 4, 4]), np.array([2, 3, 2, 4], dtype=np.int32), np.array([1, 0.5, 0.2, 1], dtype=np.float32)
)
# The search found the leaves 0 and 1. The query is (2, 1), so their scores are 1 and -1.
FOUND = Found(torch.tensor([[0, 1, -1]], dtype=torch.int32), torch.tensor([[-1, -2, -torch.inf]]))
QUERY_BD = torch.tensor([[2.0, 1.0]])
NO_SESSION = torch.zeros(1, dtype=torch.int32)
WEIGHTS = [1 / order for order in range(1, 1 + RECENT)]  # of the last item, the last but one, …


def merged(
    history: list[int], *, excluded: list[int] | None = None, shut: int | None = None, found: Found = FOUND
) -> dict[int, float]:
    tensors = FollowingTensors.from_following(Following(TABLE, 2.0), CPU)
    eligible = EligibleTensors.from_eligibility(Eligibility.from_mask(TRIE, np.arange(5) != shut), CPU)
    after = tensors.after(torch.tensor([history]), torch.tensor([len(history)]), NO_SESSION)
    joining = Joining.from_following(*after, found.leaves_BK, torch.tensor([excluded or [-1]]), eligible)
    leaves_BY = joining.candidates(found)
    weighted_BY = VECTORS[leaves_BY.clamp_min(0).long()] @ QUERY_BD[0]
    output = joining.ranked(found, leaves_BY, QUERY_BD, weighted_BY, tensors.weight, relevance_weight=1.0)
    assert output.leaves_BK.shape == (1, 3 + JOINING)
    assert (output.scores_BK.diff(dim=1).nan_to_num(0.0) <= 0).all()
    pairs = zip(output.leaves_BK[0].tolist(), output.scores_BK[0].tolist(), strict=True)
    return {leaf: score for leaf, score in pairs if leaf >= 0}


def test_items_that_followed_the_last_items_join_with_a_bonus() -> None:
    scores = merged([0, 1, 3])
    # Relevance 2 (items 2 and 4) and 1 (item 3); the offset is -3; at most -2, as the last found item.
    strength = 0.2 + 1 / 2
    assert scores[2] == pytest.approx(min(2 - 3, -2) + 2 + 2 * np.log1p(strength / WEAK), rel=1e-5)
    assert scores[4] == pytest.approx(min(2 - 3, -2) + 2 + 2 * np.log1p(1 / WEAK), rel=1e-5)
    assert scores[3] == pytest.approx(min(1 - 3, -2) + 1 + 2 * np.log1p(0.5 / 2 / WEAK), rel=1e-5)
    assert (scores[0], scores[1]) == (1, -1)  # found, and nothing that followed


def test_a_found_item_that_follows_keeps_its_own_score_with_the_bonus() -> None:
    found = FOUND._replace(leaves_BK=torch.tensor([[0, 4, -1]], dtype=torch.int32))
    scores = merged([3], found=found)
    assert scores[4] == pytest.approx(-2 + 2 + 2 * np.log1p(1 / WEAK), rel=1e-5)
    assert set(scores) == {0, 2, 4}


def test_items_that_are_excluded_or_closed_do_not_join() -> None:
    assert set(merged([3])) == {0, 1, 2, 4}
    assert set(merged([3], excluded=[4])) == {0, 1, 2}
    assert set(merged([3], shut=4)) == {0, 1, 2}


def test_after_items_that_were_added_later_nothing_follows() -> None:
    assert merged([7, 9]) == {0: 1, 1: -1}
    assert set(merged([3, 9])) == {0, 1, 2, 4}  # the last item but one still counts


@pytest.mark.parametrize("in_session", [0, 1])
def test_without_a_table_nothing_changes(in_session: int) -> None:
    tensors = FollowingTensors.from_following(Following.none(5), CPU)
    items_BX, strengths_BX = tensors.after(torch.tensor([[0, 4]]), torch.tensor([2]), torch.tensor([in_session]))
    assert (items_BX == -1).all()
    assert not strengths_BX.any()


@given(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=6), min_size=1, max_size=5))
def test_strengths_are_those_of_a_plain_sum(rows: list[list[int]]) -> None:
    dense = np.zeros((7, 5))
    for item in range(5):
        pairs = slice(TABLE.starts_N[item], TABLE.starts_N[item + 1])
        dense[item, TABLE.items_P[pairs]] = TABLE.strengths_P[pairs]
    tensors = FollowingTensors.from_following(Following(TABLE, 1.0), CPU)
    histories: list[IntArray] = [np.array(row) for row in rows]
    lengths = torch.tensor([len(row) for row in rows])
    nobody = NO_SESSION.expand(len(rows))
    items_BX, strengths_BX = tensors.after(torch.from_numpy(pad(histories, filler=0)), lengths, nobody)
    found = np.zeros((len(rows), 6))  # the last column takes empty entries
    np.add.at(found, (np.arange(len(rows))[:, None], items_BX.numpy()), strengths_BX.numpy())
    expected = [sum(weight * dense[item] for weight, item in zip(WEIGHTS, row[::-1], strict=False)) for row in rows]
    np.testing.assert_allclose(found[:, :5], expected, rtol=1e-6)
    assert not found[:, 5].any()


def test_in_a_session_the_strengths_of_sessions_count_for_those_users_alone() -> None:
    in_sessions = replace(TABLE, session_strengths_P=np.array([0, 2, 3, 0], dtype=np.float32))
    request = torch.tensor([[1], [1]]), torch.tensor([1, 1])

    def strengths(table: Transitions, in_session: list[int]) -> list[list[float]]:
        tensors = FollowingTensors.from_following(Following(table, 1.0), CPU)
        items_BX, strengths_BX = tensors.after(*request, torch.tensor(in_session, dtype=torch.int32))
        assert items_BX[:, :3].tolist() == [[2, 3, -1], [2, 3, -1]]
        return strengths_BX[:, :3].tolist()

    assert strengths(in_sessions, [1, 0]) == [[0, 2, 0], [1, 0.5, 0]]
    assert strengths(in_sessions, [0, 0]) == strengths(TABLE, [1, 1]) == [[1, 0.5, 0], [1, 0.5, 0]]


def test_the_strongest_items_join() -> None:
    trie = SemanticIdTrie.build(np.arange(200)[:, None], codebook_size=200)
    num_pairs = RECENT * KEPT
    strengths_P = np.random.default_rng(0).random(num_pairs).astype(np.float32) + 1
    starts_N = np.minimum(np.arange(201) * KEPT, num_pairs)
    table = Transitions(starts_N, np.arange(num_pairs, dtype=np.int32), strengths_P)
    tensors = FollowingTensors.from_following(Following(table, 1.0), CPU)
    eligible = EligibleTensors.from_eligibility(Eligibility.everything(trie), CPU)
    after = tensors.after(torch.tensor([[3, 2, 1, 0]]), torch.tensor([4]), NO_SESSION)
    joining = Joining.from_following(*after, torch.tensor([[50, 150]]), torch.tensor([[60, 3]]), eligible)
    strength = strengths_P * np.repeat(np.array(WEIGHTS, dtype=np.float32), KEPT)
    assert joining.found_strengths_BK[0].tolist() == pytest.approx([strength[50], 0])
    strength[[50, 60, 3]] = 0
    assert joining.leaves_BJ[0].tolist() == np.argsort(-strength, kind="stable")[:JOINING].tolist()


@pytest.mark.parametrize("relevance_weight", [0.0, 8.0])
def test_estimates_start_from_the_numbers_that_new_items_use(relevance_weight: float) -> None:
    rng = np.random.default_rng(0)
    log_probs_BK = -np.sort(rng.random((4, 15), dtype=np.float32))
    log_probs_BK[1, 3:] = log_probs_BK[2] = -np.inf
    leaves_BK = np.where(log_probs_BK > -np.inf, 0, -1).astype(np.int32)
    weighted_BY = rng.random((4, 15 + JOINING), dtype=np.float32) * np.float32(relevance_weight)
    found = Found(torch.from_numpy(leaves_BK), torch.from_numpy(log_probs_BK))
    none = torch.zeros(4, JOINING)
    joining = Joining(torch.zeros(4, 15), none.int(), none)
    output = joining.ranked(
        found,
        joining.candidates(found),
        torch.zeros(4, 2),
        torch.from_numpy(weighted_BY),
        torch.ones(1),
        relevance_weight=relevance_weight,
    )
    scores_BK = log_probs_BK + weighted_BY[:, :15]
    order_BK = np.argsort(-scores_BK, axis=1, kind="stable")
    leaves_BK, log_probs_BK, scores_BK = (
        np.take_along_axis(array, order_BK, axis=1) for array in (leaves_BK, log_probs_BK, scores_BK)
    )
    arrays = SearchOutput(leaves_BK, log_probs_BK, scores_BK, np.zeros((4, 2), dtype=np.float32))
    scores = NewItemScores(relevance_weight)
    np.testing.assert_allclose(output.offsets_B, scores.offsets(arrays), rtol=1e-5)
    np.testing.assert_allclose(output.lowest_B, scores.lowest(arrays))


def test_a_reordered_table_has_the_same_pairs() -> None:
    row_of_place_N = np.array([3, 0, 4, 1, 2])
    other = TABLE.reordered(row_of_place_N)
    assert row_of_place_N[other.items_P[: other.starts_N[1]]].tolist() == [2, 4]  # row 3 is place 0
    assert other.strengths_P[: other.starts_N[1]].tolist() == pytest.approx([0.2, 1])
    in_sessions = replace(TABLE, session_strengths_P=TABLE.strengths_P * 2).reordered(row_of_place_N)
    assert in_sessions.session_strengths_P is not None
    assert in_sessions.session_strengths_P.tolist() == (other.strengths_P * 2).tolist()
