import numpy as np
import pytest

from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.explanation import explained, surviving_prefixes
from rqrec.models.search.new.new_items import NewItems
from rqrec.models.search.ranking import SearchOutput
from rqrec.models.search.recommender import Recommender
from rqrec.models.trie.trie import SemanticIdTrie
from tests.models.conftest import random_catalogue, random_engine, random_retriever, score_every_item

HISTORY = np.array([3, 17, 3, 25, 31, 8, 39, 12])  # two more than the model reads; one item twice
NOBODY = np.empty(0, dtype=np.int64)


@pytest.fixture
def recommender(retriever: Retriever, trie: SemanticIdTrie) -> Recommender:
    popularity_N = np.arange(trie.num_leaves)
    return Recommender(random_engine(retriever, trie), trie, max_history=6, popularity_N=popularity_N)


def test_a_contribution_is_what_the_score_loses_without_the_history_item(
    recommender: Recommender, retriever: Retriever, trie: SemanticIdTrie
) -> None:
    (best,) = recommender.recommend([HISTORY], k=4, beam_width=10, excluded=[HISTORY])
    contributions_KT = explained(recommender, best.leaves_K, HISTORY, in_session=True).contributions_KT
    assert contributions_KT.shape == (4, 6)
    part = explained(recommender, best.leaves_K, HISTORY, in_session=True, positions=range(4, 6)).contributions_KT
    assert np.allclose(part, contributions_KT[:, 2:4], atol=1e-5)
    whole = score_every_item(retriever, trie, HISTORY[-6:])
    for number, position in enumerate(range(2, 8)):  # an older item moves up, as in a request without the item
        without = score_every_item(retriever, trie, np.delete(HISTORY, position)[-6:])
        lost_K = (whole.scores_N - without.scores_N)[best.leaves_K]
        assert np.allclose(contributions_KT[:, number], lost_K, atol=1e-4)


def test_the_codes_have_the_probabilities_of_a_full_search_and_the_beams_are_its_best_prefixes(
    recommender: Recommender, retriever: Retriever, trie: SemanticIdTrie
) -> None:
    found: list[SearchOutput] = []
    histories = [HISTORY[:1], HISTORY]
    (_, best) = recommender.recommend(histories, k=4, beam_width=7, on_found=found.append)
    explanation = explained(recommender, best.leaves_K, HISTORY)
    log_probs_NL = score_every_item(retriever, trie, HISTORY[-6:]).log_probs_NL
    assert np.allclose(explanation.level_log_probs_KL, log_probs_NL[best.leaves_K], atol=1e-4)
    codes_NL, beams = trie.codes_NL, surviving_prefixes(found[0], trie, user=1)
    assert [one.shape for one in beams] == [(min(7, len(trie.child_code[0])), 1), (7, 2), (7, 3)]
    first_log_probs = dict(zip(codes_NL[:, 0].tolist(), log_probs_NL[:, 0].tolist(), strict=True))
    assert beams[0][:, 0].tolist() == sorted(first_log_probs, key=lambda code: -first_log_probs[code])
    kept = {(*prefix,) for prefix in beams[1].tolist()}
    assert {(*codes[:2],) for codes in beams[2].tolist()} <= kept


def test_the_only_item_of_a_history_is_compared_with_the_popular_list(recommender: Recommender) -> None:
    (best,) = recommender.recommend([HISTORY[:1]], k=3, beam_width=40)
    explanation = explained(recommender, best.leaves_K, HISTORY[:1])
    popular = recommender.popular(k=40, excluded=NOBODY)
    shares = dict(zip(popular.leaves_K.tolist(), popular.scores_K.tolist(), strict=True))
    lost_K = best.scores_K - [shares[leaf] for leaf in best.leaves_K.tolist()]
    assert np.allclose(explanation.contributions_KT[:, 0], lost_K, atol=1e-4)


def test_new_items_are_explained_by_their_relevance_and_have_no_codes_that_count(trie: SemanticIdTrie) -> None:
    retriever = random_retriever(trie, seed=1)
    vectors_ND = retriever.item_vectors(random_catalogue(trie)).numpy()
    is_new_N = np.arange(trie.num_leaves) % 3 == 0
    new_items = NewItems.from_mask(is_new_N, vectors_ND, relevance_weight=1.0)
    engine = random_engine(retriever, trie)
    popularity_N = 1 - is_new_N.astype(np.int64)
    recommender = Recommender(engine, trie, max_history=6, popularity_N=popularity_N, new_items=new_items)
    (best,) = recommender.recommend([HISTORY], k=20, beam_width=40, reserved=[5])
    explanation = explained(recommender, best.leaves_K, HISTORY)
    is_new_K = is_new_N[best.leaves_K]
    assert 5 <= is_new_K.sum() < 20
    assert np.isfinite(explanation.contributions_KT).all()
    assert (np.isnan(explanation.level_log_probs_KL).all(axis=1) == is_new_K).all()
