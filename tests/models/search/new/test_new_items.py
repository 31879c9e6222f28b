import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.new.new_item_scores import CAUTION
from rqrec.models.search.new.new_items import NewItems
from rqrec.models.search.ranking import SearchOutput
from rqrec.models.trie.trie import SemanticIdTrie
from tests.models.conftest import random_codes

WEIGHT = 8.0
NONE = np.empty(0, dtype=np.int64)


def found(leaves: list[int], log_probs: list[float], relevance: list[float], query: list[float]) -> SearchOutput:
    log_probs_BK = np.array([log_probs], dtype=np.float32)
    scores_BK = log_probs_BK + WEIGHT * np.array([relevance], dtype=np.float32)
    return SearchOutput(
        np.array([leaves], dtype=np.int32), log_probs_BK, scores_BK, WEIGHT * np.array([query], dtype=np.float32)
    )


def test_a_new_item_is_ranked_by_its_relevance_and_the_others_offset(trie: SemanticIdTrie) -> None:
    vectors_ND = np.zeros((trie.num_leaves, 2), dtype=np.float32)
    vectors_ND[[5, 7]] = [[3, 0], [0, 2]]  # the length of a vector does not count
    is_new_N = np.isin(np.arange(trie.num_leaves), [5, 7])
    new = NewItems.from_mask(is_new_N, vectors_ND, relevance_weight=WEIGHT)
    output = found([1, 2], [-3.0, -5.0], [4.0, 2.0], [4.5, 0.5])
    (ranking,) = new.merged(output, [NONE], Eligibility.everything(trie), k=4, reserved=[0])
    offset = np.mean([-3.0 - 4.0, -5.0 - 2.0])
    assert ranking.leaves_K.tolist() == [1, 5, 2, 7]
    relevance = 4.5 - CAUTION
    np.testing.assert_allclose(ranking.log_probs_K[1], relevance + offset, atol=1e-5)
    np.testing.assert_allclose(ranking.scores_K[1], relevance + offset + WEIGHT * relevance, atol=1e-5)


def test_reserved_places_exclusions_and_filters_hold(trie: SemanticIdTrie) -> None:
    rng = np.random.default_rng(0)
    vectors_ND = rng.normal(size=(trie.num_leaves, 2)).astype(np.float32)
    is_new_N = np.arange(trie.num_leaves) >= 30
    new = NewItems.from_mask(is_new_N, vectors_ND, relevance_weight=WEIGHT)
    output = found([0, 1, 2, 31], [-1.0] * 4, [50.0] * 4, [1.0, 0.0])
    everything, mask_N = Eligibility.everything(trie), np.arange(trie.num_leaves) != 33
    (plain,) = new.merged(output, [NONE], everything, k=3, reserved=[0])
    assert plain.leaves_K.tolist() == [0, 1, 2]  # 31 is new, so it is ignored among the found items
    (two,) = new.merged(output, [NONE], everything, k=3, reserved=[2])
    assert is_new_N[two.leaves_K].sum() == 2
    (filtered,) = new.merged(output, [np.array([34, 35])], Eligibility.from_mask(trie, mask_N), k=40, reserved=[40])
    assert set(filtered.leaves_K.tolist()) == {0, 1, 2, *range(30, 40)} - {33, 34, 35}
    assert (np.diff(filtered.scores_K) <= 0).all()


@given(seed=st.integers(0, 10**6), bonus=st.sampled_from([0.0, 1.0, 100.0]), k=st.integers(1, 12))
def test_the_list_is_the_best_of_both_kinds(seed: int, bonus: float, k: int) -> None:
    """Holds whether the new items' relevance is too low for the list, about equal or high."""
    rng = np.random.default_rng(seed)
    trie = SemanticIdTrie.build(random_codes(rng, items=40, levels=3, codebook_size=5), codebook_size=5)
    vectors_ND = rng.normal(size=(40, 2)).astype(np.float32)
    is_new_N = rng.random(40) < 0.2
    new = NewItems.from_mask(is_new_N, vectors_ND, relevance_weight=WEIGHT)
    leaves, count = rng.permutation(40)[:15], int(rng.integers(1, 15))
    output = found(
        [*leaves[:count].tolist(), *[-1] * (15 - count)],
        [*np.sort(rng.normal(-5, 1, count))[::-1].tolist(), *[-np.inf] * (15 - count)],
        [0.0] * 15,
        [bonus - 4.0, 0.1],
    )
    barred = rng.permutation(40)[:5]
    output.scores_BK[0, np.isin(output.leaves_BK[0], barred)] = -np.inf  # the search would not have found them
    order = np.argsort(-output.scores_BK[0], kind="stable")
    output = SearchOutput(
        output.leaves_BK[:, order], output.log_probs_BK[:, order], output.scores_BK[:, order], output.queries_BD
    )
    (ranking,) = new.merged(output, [barred], Eligibility.everything(trie), k=k, reserved=[0])
    (longest,) = new.merged(output, [barred], Eligibility.everything(trie), k=60, reserved=[0])
    assert ranking.leaves_K.tolist() == longest.leaves_K[:k].tolist()
    known = {leaf for leaf, score in zip(output.leaves_BK[0], output.scores_BK[0], strict=True) if score > -np.inf}
    expected = (known - set(np.flatnonzero(is_new_N))) | (set(np.flatnonzero(is_new_N)) - set(barred))
    assert set(longest.leaves_K.tolist()) == expected
    assert (np.diff(longest.scores_K) <= 0).all()


def test_no_weight_no_new_items() -> None:
    assert (
        len(NewItems.from_mask(np.ones(3, dtype=np.bool_), np.ones((3, 2), dtype=np.float32), relevance_weight=0.0))
        == 0
    )


@given(seed=st.integers(0, 10**6), bonus=st.sampled_from([0.0, 4.0, 100.0]), k=st.integers(1, 12))
def test_a_batch_gets_the_lists_that_each_user_gets_alone(seed: int, bonus: float, k: int) -> None:
    """Users whose list stays as found, users whose list changes, and users with reserved places are in one batch."""
    rng = np.random.default_rng(seed)
    trie = SemanticIdTrie.build(random_codes(rng, items=200, levels=3, codebook_size=8), codebook_size=8)
    new = NewItems.from_mask(
        rng.random(200) < 0.6, rng.normal(size=(200, 2)).astype(np.float32), relevance_weight=WEIGHT
    )
    mask_N = rng.random(200) < 0.8
    eligibility = Eligibility.from_mask(trie, mask_N)
    users, beams = 6, max(k, int(rng.integers(1, 15)))
    leaves_BK = np.stack([rng.permutation(200)[:beams] for _ in range(users)]).astype(np.int32)
    log_probs_BK = np.sort(rng.normal(-5, 1, (users, beams)).astype(np.float32), axis=1)[:, ::-1].copy()
    queries_BD = WEIGHT * rng.normal([bonus - 4.0, 0.1], 2.0, (users, 2)).astype(np.float32)
    output = SearchOutput(leaves_BK, log_probs_BK, log_probs_BK + 20, queries_BD)
    excluded = [rng.permutation(200)[: rng.integers(0, 50)] for _ in range(users)]
    reserved = [0, 0, 0, 0, min(2, k), k]
    together = new.merged(output, excluded, eligibility, k=k, reserved=reserved)
    for user, ranking in enumerate(together):
        (expected,) = new.merged(output.of_users([user]), [excluded[user]], eligibility, k=k, reserved=[reserved[user]])
        assert ranking.leaves_K.tolist() == expected.leaves_K.tolist()
        np.testing.assert_allclose(ranking.log_probs_K, expected.log_probs_K, rtol=1e-5)
        np.testing.assert_allclose(ranking.scores_K, expected.scores_K, rtol=1e-5, atol=1e-5)
        found_or_allowed = set(leaves_BK[user].tolist()) | (set(np.flatnonzero(mask_N)) - set(excluded[user]))
        assert set(ranking.leaves_K.tolist()) <= found_or_allowed
