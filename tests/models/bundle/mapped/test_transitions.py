from pathlib import Path

import numpy as np
import pytest

from rqrec.models.bundle.layout import FOLLOWING
from rqrec.models.bundle.mapped.transitions import (
    check_transitions,
    read_mapped_transitions,
    write_mapped_transitions,
)
from rqrec.models.search.history.transitions import Following, Transitions

# Item 0 was followed by the items 1 and 2, item 2 by item 1.
STARTS_N, ITEMS_P = np.array([0, 2, 2, 3]), np.array([1, 2, 1], dtype=np.int32)
PLAIN = Transitions(STARTS_N, ITEMS_P, np.array([0.5, 0.25, 1], dtype=np.float32))
IN_SESSIONS = Transitions(
    STARTS_N, ITEMS_P, np.array([0.5, 0.25, 1], dtype=np.float32), np.array([0, 0.125, 2], dtype=np.float32)
)


@pytest.mark.parametrize("table", [PLAIN, IN_SESSIONS])
def test_the_search_reads_the_same_from_the_files(table: Transitions, tmp_path: Path) -> None:
    write_mapped_transitions(table, tmp_path)
    found = read_mapped_transitions(tmp_path, rows=3)
    expected = Following(table, 1.5).by_input_name()
    for name, array in Following(found, 1.5).by_input_name().items():
        assert array.dtype == expected[name].dtype
        assert array.tolist() == expected[name].tolist()
    check_transitions(found)
    in_other_order, expected_there = found.reordered(np.array([2, 0, 1])), table.reordered(np.array([2, 0, 1]))
    assert in_other_order.items_P.tolist() == expected_there.items_P.tolist()
    assert (found.session_strengths_P is None) == (table.session_strengths_P is None)


@pytest.mark.parametrize(
    ("file", "values", "reason"),
    [
        (0, np.array([0, 2, 2, 3], dtype=np.int32), "expected 5 starts"),
        (0, np.array([0, 2, 1, 3, 3], dtype=np.int32), "0 to 16 following items"),
        (0, np.array([0, 2, 2, 2, 3], dtype=np.int32), "0 to 16 following items"),
        (0, np.array([0, 2, 2, 3, 3], dtype=np.float32), "arrays of int32"),
        (1, np.array([1, 3, 1, -1], dtype=np.int32), "must be in"),
        (1, np.array([1, 2, 1, 0], dtype=np.int32), "empty entry"),
        (2, np.array([0.5, 0, 1, 0], dtype=np.float32), "above 0"),
        (2, np.array([0.5, np.nan, 1, 0], dtype=np.float32), "finite"),
        (2, np.array([0.5, 1, 0], dtype=np.float32), "a strength or two"),
        (2, np.array([0.5, 1, 1, 0, 1, -1, 1, 0], dtype=np.float32), "at least 0"),
    ],
)
def test_wrong_values_are_refused(file: int, values: np.ndarray, reason: str, tmp_path: Path) -> None:
    write_mapped_transitions(PLAIN, tmp_path)
    np.save(tmp_path / FOLLOWING[file], values)
    with pytest.raises(ValueError, match=reason):
        check_transitions(read_mapped_transitions(tmp_path, rows=3))
