import numpy as np
import pytest

from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.recommender import Recommender
from rqrec.models.trie.trie import SemanticIdTrie
from tests.models.conftest import random_engine


@pytest.fixture
def recommender(trie: SemanticIdTrie, retriever: Retriever) -> Recommender:
    engine = random_engine(retriever, trie)
    return Recommender(engine, trie, max_history=6, popularity_N=np.arange(40))


def test_only_the_most_recent_items_are_read(recommender: Recommender) -> None:
    recent = np.array([1, 2, 3, 4, 5, 6])
    longer = np.concatenate([[9, 9, 9], recent])
    (a,), (b,) = (recommender.recommend([history], k=5, beam_width=10) for history in (recent, longer))
    assert a.leaves_K.tolist() == b.leaves_K.tolist()


def test_popular_items_come_in_order_without_the_excluded(recommender: Recommender) -> None:
    popular = recommender.popular(k=3, excluded=np.array([39, 37]))
    assert popular.leaves_K.tolist() == [38, 36, 35]
    assert (np.diff(popular.log_probs_K) < 0).all()


def test_popular_returns_fewer_when_fewer_are_left(recommender: Recommender) -> None:
    assert recommender.popular(k=5, excluded=np.arange(38)).leaves_K.tolist() == [39, 38]


def test_no_users_get_no_answers(recommender: Recommender) -> None:
    assert recommender.recommend([], k=5, beam_width=5) == []


@pytest.mark.parametrize(
    ("histories", "k", "excluded"),
    [([np.array([], dtype=np.int64)], 3, None), ([np.array([1])], 0, None), ([np.array([1])], 3, [])],
)
def test_refuses_bad_calls(
    recommender: Recommender, histories: list[np.ndarray], k: int, excluded: list[np.ndarray] | None
) -> None:
    with pytest.raises(ValueError, match="recommend needs k >= 1"):
        recommender.recommend(histories, k=k, beam_width=5, excluded=excluded)


def test_refuses_popularity_of_another_catalogue(trie: SemanticIdTrie, retriever: Retriever) -> None:
    engine = random_engine(retriever, trie)
    with pytest.raises(ValueError, match=r"one entry per leaf \(40\), got 3"):
        Recommender(engine, trie, max_history=6, popularity_N=np.zeros(3, dtype=np.int64))


def test_popular_items_of_a_filter_come_in_order_whether_prepared_or_not(recommender: Recommender) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        mask_N = rng.random(40) < rng.random()
        excluded = np.flatnonzero((rng.random(40) < 0.3) & mask_N)
        k = int(rng.integers(1, 50))
        eligibility = Eligibility.from_mask(recommender.trie, mask_N)
        expected = [leaf for leaf in range(39, -1, -1) if mask_N[leaf] and leaf not in excluded][:k]
        for one in (eligibility, recommender.prepared(eligibility)):
            assert recommender.popular(k=k, excluded=excluded, eligibility=one).leaves_K.tolist() == expected
