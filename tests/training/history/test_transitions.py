"""The table of items that followed each item."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqrec.models.search.history.transitions import KEPT, SESSION_GAP_S
from rqrec.training.data.splits import Sequences
from rqrec.training.history.transitions import SHARPNESS, STEP_WEIGHTS, fit_transitions, transition_shares


def ragged(rows: list[list[int]]) -> Sequences:
    return Sequences.from_arrays(
        np.array([i for row in rows for i in row], dtype=np.int32), np.cumsum([0, *map(len, rows)])
    )


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), min_size=1, max_size=4))
def test_transitions_are_those_of_a_plain_count(rows: list[list[int]]) -> None:
    expected = np.zeros((5, 5))
    for row in rows:
        for steps, weight in enumerate(STEP_WEIGHTS, start=1):
            for place in range(len(row) - steps):
                expected[row[place], row[place + steps]] += weight
    sums = expected.sum(1, keepdims=True)
    found = transition_shares(ragged(rows), 5).toarray()
    np.testing.assert_allclose(found, np.divide(expected, sums, out=expected, where=sums > 0), rtol=1e-5)


def test_strengths_in_sessions_count_the_pairs_without_a_pause_between_them() -> None:
    times = [0, 60, 60 + SESSION_GAP_S, 9 * SESSION_GAP_S]
    sequences = ragged([[0, 1, 2, 3], [0, 2]]).with_arrays(times_I=np.array([*times, 0, 5 * SESSION_GAP_S]))
    features_NE = np.eye(4, dtype=np.float32)
    table = fit_transitions(sequences, features_NE)
    pairs = list(zip(np.repeat(np.arange(4), np.diff(table.starts_N)).tolist(), table.items_P.tolist(), strict=True))
    assert table.session_strengths_P is not None
    found = dict(zip(pairs, table.session_strengths_P.tolist(), strict=True))
    assert found == pytest.approx({(0, 1): 2 / 3, (0, 2): 1 / 3, (0, 3): 0, (1, 2): 1, (1, 3): 0, (2, 3): 0})
    plain = fit_transitions(sequences.with_arrays(times_I=None), features_NE)
    assert plain.session_strengths_P is None
    assert plain.strengths_P.tolist() == table.strengths_P.tolist()


def test_likeness_of_content_makes_a_pair_stronger() -> None:
    features_NE = np.array([[1, 0], [0, 1], [3, 0]], dtype=np.float32)
    table = fit_transitions(ragged([[0, 1], [0, 2]]), features_NE)
    assert table.items_P.tolist() == [1, 2]
    np.testing.assert_allclose(table.strengths_P, [0.5, 0.5 * np.exp(SHARPNESS)], rtol=1e-6)


def test_the_strongest_pairs_of_each_item_are_kept() -> None:
    rows = [[0, 1 + item] for item in range(2 * KEPT) for _ in range(1 + item)]
    table = fit_transitions(ragged(rows), np.ones((2 * KEPT + 1, 1), dtype=np.float32))
    assert table.items_P.tolist() == list(range(KEPT + 1, 2 * KEPT + 1))
    assert table.starts_N.tolist() == [0] + [KEPT] * (2 * KEPT + 1)


def test_dislikes_follow_nothing_and_weights_count() -> None:
    sequences = ragged([[0, 1], [0, 2], [0, 3]])
    weighted = Sequences.from_arrays(
        sequences.items_I, sequences.offsets_U, np.array([1, 0, 1, 1, 1, 3], dtype=np.float32)
    )
    table = fit_transitions(weighted, np.ones((4, 1), dtype=np.float32))
    assert table.items_P.tolist() == [2, 3]
    np.testing.assert_allclose(table.strengths_P / table.strengths_P.sum(), [0.25, 0.75], rtol=1e-6)
