import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.history.own_choices import OwnChoices
from rqrec.models.search.history.own_items import OwnItems
from rqrec.models.search.history.own_weights import AGE_CLASSES, MOST_COUNTED, OwnItemWeights
from rqrec.models.search.ranking import SearchOutput, rankings
from rqrec.models.trie.trie import SemanticIdTrie

TRIE = SemanticIdTrie.build(np.array([[0, 1], [0, 3], [1, 0], [1, 1], [2, 0]]), codebook_size=4)
EVERYTHING = Eligibility.everything(TRIE)
VECTORS = np.array([[1, 0], [0, 1], [1, 0], [0, 2], [3, 0]], dtype=np.float32)
WEIGHTS = OwnItemWeights(tuple(map(float, range(1, MOST_COUNTED + 1))), tuple(-0.1 * age for age in range(AGE_CLASSES)))
NOTHING = np.array([[-1]])
NOT_NEW = np.zeros(5, dtype=np.bool_)
# The search found the leaves 0 and 1. The query is (2, 1).
FOUND = SearchOutput(
    np.array([[0, 1, -1, -1, -1]], dtype=np.int32),
    np.array([[-1, -2, *[-np.inf] * 3]], dtype=np.float32),
    np.array([[1, -1, *[-np.inf] * 3]], dtype=np.float32),
    np.array([[2, 1]], dtype=np.float32),
)


def merged(history: list[int], excluded: list[int] | None = None, is_new: int | None = None) -> dict[int, float]:
    is_new_N = np.arange(5) == is_new
    own = OwnItems(WEIGHTS, is_new_N, VECTORS, relevance_weight=1.0)
    output = own.merged(FOUND, [np.array(history)], np.array([excluded or [-1]]), EVERYTHING)
    (ranking,) = rankings(output.leaves_BK, output.log_probs_BK, output.scores_BK)
    return dict(zip(ranking.leaves_K.tolist(), ranking.scores_K.tolist(), strict=True))


def test_a_found_item_of_the_history_gets_the_bonus_of_its_count_and_age() -> None:
    assert merged([1, 1, 0, 3])[1] == pytest.approx(-1 + 2 - 0.1)  # chosen twice, and two choices came after


def test_an_item_that_the_search_did_not_find_joins_with_an_estimate() -> None:
    # Relevance 1; the offset is the mean of -1 - 2 and -2 - 1. The last found item has the log-probability -2.
    scores = merged([3])
    assert list(scores) == [0, 3, 1]
    assert scores[3] == pytest.approx(min(1 - 3, -2) + 1 + 1)


def test_items_outside_the_history_keep_their_scores() -> None:
    scores = merged([3])
    assert (scores[0], scores[1]) == (1, -1)


def test_excluded_and_new_items_and_items_added_later_do_not_join() -> None:
    assert set(merged([3, 4, 7], excluded=[3], is_new=4)) == {0, 1}


def test_a_history_without_known_leaves_changes_nothing() -> None:
    assert merged([9]) == {0: 1, 1: -1}


def test_users_of_a_batch_do_not_mix() -> None:
    two = SearchOutput(
        np.repeat(FOUND.leaves_BK, 2, axis=0),
        np.repeat(FOUND.log_probs_BK, 2, axis=0),
        np.repeat(FOUND.scores_BK, 2, axis=0),
        np.repeat(FOUND.queries_BD, 2, axis=0),
    )
    own = OwnItems(WEIGHTS, NOT_NEW, VECTORS, relevance_weight=1.0)
    histories = [np.array([3]), np.array([4, 4, 2, 0])]
    both = own.merged(two, histories, np.repeat(NOTHING, 2, axis=0), EVERYTHING)
    for user, history in enumerate(histories):
        alone = own.merged(FOUND, [history], NOTHING, EVERYTHING)
        count = alone.leaves_BK.shape[1]
        assert both.leaves_BK[user, :count].tolist() == alone.leaves_BK[0].tolist()
        assert both.scores_BK[user, :count].tolist() == alone.scores_BK[0].tolist()
        assert (both.leaves_BK[user, count:] == -1).all()


def test_closed_leaves_do_not_join() -> None:
    own = OwnItems(WEIGHTS, NOT_NEW, VECTORS, relevance_weight=1.0)
    some = Eligibility.from_mask(TRIE, np.arange(5) != 3)
    output = own.merged(FOUND, [np.array([3, 2])], NOTHING, some)
    assert set(output.leaves_BK[0].tolist()) == {0, 1, 2, -1}


@given(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=20), min_size=1, max_size=4))
def test_counts_and_ages_are_those_of_a_plain_count(rows: list[list[int]]) -> None:
    choices = OwnChoices.from_histories([np.array(row) for row in rows])
    expected = {
        (user << 32) | item: (row.count(item), row[::-1].index(item)) for user, row in enumerate(rows) for item in row
    }
    found = zip(choices.counts_P.tolist(), choices.ages_P.tolist(), strict=True)
    assert dict(zip(choices.keys_P.tolist(), found, strict=True)) == expected
    assert (np.diff(choices.keys_P) > 0).all()


def test_of_a_very_long_history_the_items_of_the_largest_bonus_join() -> None:
    choices = OwnChoices.from_histories([np.array([1, 2, 2, 3, 4, 4, 3]), np.array([5])])
    best = choices.best(np.array([3, 1, 1, 1, 0], dtype=np.float32), 2)
    assert best.keys_P.tolist() == [1, 3, (1 << 32) | 5]
    assert best.counts_P.tolist() == [1, 2, 1]
    assert choices.best(np.zeros(5, dtype=np.float32), 4) is choices


def test_weights_must_be_complete_and_finite() -> None:
    fields = {"by_count": WEIGHTS.by_count, "by_age": WEIGHTS.by_age}
    assert OwnItemWeights.from_fields(fields) == WEIGHTS
    for wrong in ({}, {**fields, "by_age": [1.0]}, {**fields, "by_count": [float("nan")] * MOST_COUNTED}):
        with pytest.raises(ValueError, match="finite weights of own items"):
            OwnItemWeights.from_fields(wrong)
