"""Each asked interaction is a test case with all that the user did before; compared with a plain loop."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rqrec.training.data.splits import Sequences
from rqrec.training.retrain.asking import questions
from rqrec.training.retrain.asking.questions import next_item_questions


@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.booleans()), max_size=6), max_size=5))
def test_equals_a_plain_loop(users: list[list[tuple[int, bool, bool]]]) -> None:
    flat = [one for user in users for one in user]
    sequences = Sequences.from_arrays(
        np.array([item for item, _, _ in flat], dtype=np.int32),
        np.cumsum([0, *map(len, users)]),
        weights_I=np.array([wanted for _, wanted, _ in flat], dtype=np.float32),
        types_I=np.array([item % 3 for item, _, _ in flat], dtype=np.int8),
    )
    expected = [
        ([item for item, _, _ in user[:place]], user[place][0], row)
        for row, user in enumerate(users)
        for place in range(1, len(user))
        if user[place][1] and user[place][2]
    ]
    asked, user_Q = next_item_questions(sequences, np.array([one for _, _, one in flat], dtype=np.bool_))
    found = [(asked.histories[row].tolist(), int(asked.targets_U[row]), int(user_Q[row])) for row in range(len(asked))]
    assert found == expected
    for row in range(len(asked)):
        assert asked.histories.types_of(row).tolist() == [item % 3 for item in found[row][0]]


def test_a_history_has_the_items_that_the_service_keeps() -> None:
    length = questions.LONGEST_HISTORY + 3
    sequences = Sequences.from_arrays(np.arange(length, dtype=np.int32), np.array([0, length]))
    asked, _ = next_item_questions(sequences, np.arange(length) == length - 1)
    assert asked.histories[0].tolist() == [*range(2, length - 1)]
