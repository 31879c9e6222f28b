import numpy as np

from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.control.further_items import FurtherItems
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.recommender import Recommender
from rqrec.models.trie.trie import SemanticIdTrie
from tests.models.conftest import random_catalogue, random_engine, score_every_item

HISTORY, EXCLUDED = np.array([3, 17, 25]), np.array([3, 17, 25, 8])


def made(retriever: Retriever, trie: SemanticIdTrie, **options: int) -> Recommender:
    popularity_N = np.arange(trie.num_leaves)  # leaf 0 is new
    vectors_ND = retriever.item_vectors(random_catalogue(trie)).numpy()
    weight = retriever.config.relevance_weight
    further = FurtherItems(popularity_N, vectors_ND, relevance_weight=weight, **options)
    engine = random_engine(retriever, trie)
    return Recommender(engine, trie, max_history=6, popularity_N=popularity_N, further_items=further)


def test_a_longer_list_has_every_other_item_once_and_the_found_ones_with_their_scores(
    retriever: Retriever, trie: SemanticIdTrie
) -> None:
    recommender, mask_N = made(retriever, trie), np.arange(trie.num_leaves) % 5 != 4
    eligibility = Eligibility.from_mask(trie, mask_N)
    short, longer = (
        recommender.recommend(
            [HISTORY], k=4, beam_width=4, excluded=[EXCLUDED], eligibility=eligibility, further=further
        )[0]
        for further in (0, 1000)
    )
    expected = set(np.flatnonzero(mask_N).tolist()) - {0, *EXCLUDED.tolist()}
    assert len(longer.leaves_K) == len(expected | set(short.leaves_K.tolist()))
    assert set(longer.leaves_K.tolist()) == expected | set(short.leaves_K.tolist())
    assert (np.diff(longer.scores_K) <= 0).all()
    scores, log_probs = (dict(zip(longer.leaves_K.tolist(), one.tolist(), strict=True)) for one in longer[:0:-1])
    assert [scores[leaf] for leaf in short.leaves_K.tolist()] == short.scores_K.tolist()
    others = expected - set(short.leaves_K.tolist())
    assert max(log_probs[leaf] for leaf in others) <= short.log_probs_K.min()
    # What is estimated is the log-probability alone.
    truth = score_every_item(retriever, trie, HISTORY)
    relevance_N = truth.scores_N - truth.log_probs_NL.sum(axis=1)
    assert np.allclose([scores[leaf] - log_probs[leaf] for leaf in others], relevance_N[[*others]], atol=1e-3)


def test_of_a_large_catalogue_only_the_popular_items_are_further_ones(
    retriever: Retriever, trie: SemanticIdTrie
) -> None:
    (longer,) = made(retriever, trie, compared=10).recommend([HISTORY], k=2, beam_width=2, further=1000)
    (short,) = made(retriever, trie).recommend([HISTORY], k=2, beam_width=2)
    popular = set(range(trie.num_leaves - 10, trie.num_leaves))
    assert set(longer.leaves_K.tolist()) == popular | set(short.leaves_K.tolist())
    (three,) = made(retriever, trie).recommend([HISTORY], k=2, beam_width=2, further=3)
    assert len(three.leaves_K) == 5
