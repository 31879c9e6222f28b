import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.padding import pad
from rqrec.models.search.ranked import top_k
from rqrec.models.search.recommender import Recommender
from rqrec.models.trie.trie import SemanticIdTrie
from tests.models.conftest import random_codes, random_engine, random_retriever, score_every_item


@given(
    levels=st.integers(1, 5),
    items=st.integers(1, 60),
    seed=st.integers(0, 10**6),
    excluded=st.sets(st.integers(0, 59)),
    filtered=st.sets(st.integers(0, 59)),
)
@settings(deadline=None, max_examples=60)
def test_a_wide_beam_equals_exhaustive_scoring(
    levels: int, items: int, seed: int, excluded: set[int], filtered: set[int]
) -> None:
    rng = np.random.default_rng(seed)
    codebook_size = 64 if levels == 1 else 8
    items = min(items, codebook_size**levels)
    codes_NL = random_codes(rng, items=items, levels=levels, codebook_size=codebook_size)
    trie = SemanticIdTrie.build(codes_NL, codebook_size=codebook_size)
    retriever = random_retriever(trie, seed=seed)
    history = rng.integers(0, items, size=rng.integers(1, 6))
    eligible = np.array([leaf not in filtered for leaf in range(items)])
    barred = [leaf for leaf in sorted(excluded) if leaf < items and eligible[leaf]]
    found = random_engine(retriever, trie).search(
        history[None],
        np.array([len(history)]),
        pad([barred], filler=-1),
        Eligibility.from_mask(trie, eligible),
        beam_width=items,
    )
    exact = score_every_item(retriever, trie, history)
    eligible[barred] = False
    expected = [leaf for leaf in np.argsort(-exact.scores_N, kind="stable") if eligible[leaf]]
    leaves = found.leaves_BK[0][: len(expected)]
    np.testing.assert_allclose(found.scores_BK[0][: len(expected)], exact.scores_N[expected], atol=1e-4)
    np.testing.assert_allclose(found.log_probs_BK[0][: len(expected)], exact.log_probs_N[leaves], atol=1e-4)
    assert set(leaves.tolist()) == set(expected)
    assert (found.leaves_BK[0][len(expected) :] == -1).all()


@given(seed=st.integers(0, 10**6), k=st.integers(1, 12), left=st.integers(0, 12))
@settings(deadline=None, max_examples=40)
def test_k_eligible_items_come_back_whenever_k_exist(seed: int, k: int, left: int) -> None:
    rng = np.random.default_rng(seed)
    trie = SemanticIdTrie.build(random_codes(rng, items=50, levels=3, codebook_size=6), codebook_size=6)
    engine = random_engine(random_retriever(trie, seed=seed), trie)
    recommender = Recommender(engine, trie, max_history=6, popularity_N=np.zeros(50, dtype=np.int64))
    allowed = rng.choice(50, left, replace=False)
    excluded = np.setdiff1d(np.arange(50), allowed)
    (found,) = recommender.recommend([np.array([3, 1])], k=k, beam_width=1, excluded=[excluded])
    assert len(found.leaves_K) == min(k, left)
    assert set(found.leaves_K.tolist()) <= set(allowed.tolist())
    assert len(set(found.leaves_K.tolist())) == len(found.leaves_K)
    assert (np.diff(found.scores_K) <= 0).all()


def test_a_batch_of_unequal_histories_equals_each_alone(trie: SemanticIdTrie) -> None:
    engine = random_engine(random_retriever(trie), trie)
    recommender = Recommender(engine, trie, max_history=6, popularity_N=np.zeros(40, dtype=np.int64))
    histories = [np.array([3]), np.array([1, 2, 3, 4, 5]), np.array([9, 8])]
    excluded = [np.array([0, 1]), np.array([], dtype=np.int64), np.array([7])]
    together = recommender.recommend(histories, k=5, beam_width=8, excluded=excluded)
    for user, history in enumerate(histories):
        (alone,) = recommender.recommend([history], k=5, beam_width=8, excluded=[excluded[user]])
        assert together[user].leaves_K.tolist() == alone.leaves_K.tolist()
        np.testing.assert_allclose(together[user].log_probs_K, alone.log_probs_K, atol=1e-5)
        np.testing.assert_allclose(together[user].scores_K, alone.scores_K, atol=1e-5)


def test_equal_scores_come_by_their_prefixes_then_by_semantic_id(trie: SemanticIdTrie) -> None:
    retriever = random_retriever(trie, short_term_width=0, long_term_width=0)
    with torch.no_grad():
        retriever.query.weight.zero_()  # every item has the same relevance
        for head in retriever.decoder.heads:  # all logits are equal, so log p depends only on the numbers of siblings
            for parameter in head.parameters():
                parameter.zero_()
    history = np.array([1, 2])
    levels_NL = score_every_item(retriever, trie, history).log_probs_NL
    prefixes_NL = np.cumsum(levels_NL, axis=1, dtype=np.float32)
    expected = np.lexsort([np.arange(trie.num_leaves), *(-prefixes_NL.T)])
    engine = random_engine(retriever, trie)
    recommender = Recommender(engine, trie, max_history=6, popularity_N=np.zeros(40, dtype=np.int64))
    (found,) = recommender.recommend([history], k=40, beam_width=40)
    assert len(np.unique(found.log_probs_K)) < 40
    assert found.leaves_K.tolist() == expected.tolist()


@pytest.mark.parametrize("k", [1, 3, 7])
def test_top_k_takes_the_first_of_equals(k: int) -> None:
    scores = torch.tensor(
        [[1.0, 2.0, -0.0, 2.0, 0.0, -torch.inf, -torch.inf], [-1.0, -1.0, -2.0, -3.5, -1.0, 1e-30, -1.0]]
    )
    expected = torch.sort(scores, dim=1, descending=True, stable=True)
    values, positions = top_k(scores, k)
    assert values.tolist() == expected.values[:, :k].tolist()
    assert positions.tolist() == expected.indices[:, :k].tolist()
