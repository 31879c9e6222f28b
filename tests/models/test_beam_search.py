import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.recommender import Recommender, pad
from models.torch_engine import TorchEngine
from models.trie import SemanticIdTrie
from tests.models.conftest import random_codes, random_retriever
from tests.models.oracles import exhaustive_log_probs

CPU = torch.device("cpu")


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
    barred = np.array([leaf for leaf in sorted(excluded) if leaf < items and eligible[leaf]], dtype=np.int64)
    found = TorchEngine(retriever, trie, device=CPU).search(
        history[None],
        np.array([len(history)]),
        pad([barred], filler=items),
        np.concatenate([[0], np.cumsum(eligible)]),
        beam=items,
    )
    scores_N = exhaustive_log_probs(retriever, trie, torch.from_numpy(history)).numpy()
    eligible[barred] = False
    expected = [leaf for leaf in np.argsort(-scores_N, kind="stable") if eligible[leaf]]
    np.testing.assert_allclose(found.log_probs_BK[0][: len(expected)], scores_N[expected], atol=1e-4)
    assert set(found.leaves_BK[0][: len(expected)].tolist()) == set(expected)
    assert (found.leaves_BK[0][len(expected) :] == -1).all()


@given(seed=st.integers(0, 10**6), k=st.integers(1, 12), left=st.integers(0, 12))
@settings(deadline=None, max_examples=40)
def test_k_eligible_items_come_back_whenever_k_exist(seed: int, k: int, left: int) -> None:
    rng = np.random.default_rng(seed)
    trie = SemanticIdTrie.build(random_codes(rng, items=50, levels=3, codebook_size=6), codebook_size=6)
    engine = TorchEngine(random_retriever(trie, seed=seed), trie, device=CPU)
    recommender = Recommender(engine, trie, max_history=6, popularity_N=np.zeros(50, dtype=np.int64))
    allowed = rng.choice(50, left, replace=False)
    excluded = np.setdiff1d(np.arange(50), allowed)
    found = recommender.recommend([np.array([3, 1])], k=k, beam_width=1, excluded=[excluded])
    assert len(found.leaves[0]) == min(k, left)
    assert set(found.leaves[0].tolist()) <= set(allowed.tolist())
    assert len(set(found.leaves[0].tolist())) == len(found.leaves[0])
    assert (np.diff(found.log_probs[0]) <= 0).all()


def test_a_batch_of_unequal_histories_equals_each_alone(trie: SemanticIdTrie) -> None:
    engine = TorchEngine(random_retriever(trie), trie, device=CPU)
    recommender = Recommender(engine, trie, max_history=6, popularity_N=np.zeros(40, dtype=np.int64))
    histories = [np.array([3]), np.array([1, 2, 3, 4, 5]), np.array([9, 8])]
    excluded = [np.array([0, 1]), np.array([], dtype=np.int64), np.array([7])]
    together = recommender.recommend(histories, k=5, beam_width=8, excluded=excluded)
    for user, history in enumerate(histories):
        alone = recommender.recommend([history], k=5, beam_width=8, excluded=[excluded[user]])
        assert together.leaves[user].tolist() == alone.leaves[0].tolist()
        np.testing.assert_allclose(together.log_probs[user], alone.log_probs[0], atol=1e-5)
