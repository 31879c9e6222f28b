from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rqrec.models.bundle.transition_table import SCHEMA, SESSION_SCHEMA, read_transitions, write_transitions
from rqrec.models.search.history.transitions import Transitions

TABLE = Transitions(np.array([0, 2, 2, 3]), np.array([1, 2, 0], dtype=np.int32), np.array([0.5, 2, 1], np.float32))


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_transitions(TABLE, tmp_path / "table")
    found = read_transitions(tmp_path / "table", rows=3)
    for name in ("starts_N", "items_P", "strengths_P"):
        array = getattr(found, name)
        assert array.tolist() == getattr(TABLE, name).tolist()
        assert array.dtype == getattr(TABLE, name).dtype


def test_strengths_in_sessions_are_read_as_they_were_written(tmp_path: Path) -> None:
    in_sessions = replace(TABLE, session_strengths_P=np.array([0, 3, 0.5], np.float32))
    write_transitions(in_sessions, tmp_path / "table")
    found = read_transitions(tmp_path / "table", rows=3)
    assert found.session_strengths_P is not None
    assert found.session_strengths_P.tolist() == [0, 3, 0.5]
    write_transitions(TABLE, tmp_path / "table")
    assert read_transitions(tmp_path / "table", rows=3).session_strengths_P is None


@pytest.mark.parametrize(
    ("in_sessions", "message"),
    [([[-1.0], [], []], "in a session"), ([[1.0, 2.0], [], []], "as many"), ([[None], [], []], "no nulls")],
)
def test_wrong_strengths_in_sessions_are_refused(tmp_path: Path, in_sessions: list[object], message: str) -> None:
    columns = {"following": [[1], [], []], "strengths": [[1.0], [], []], "session_strengths": in_sessions}
    pl.DataFrame(columns, schema=SESSION_SCHEMA).write_parquet(tmp_path / "table")
    with pytest.raises(ValueError, match=message):
        read_transitions(tmp_path / "table", rows=3)


def test_a_table_of_items_that_nothing_followed(tmp_path: Path) -> None:
    nothing = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)
    write_transitions(Transitions(np.zeros(3, dtype=np.int64), *nothing), tmp_path / "table")
    assert read_transitions(tmp_path / "table", rows=2).starts_N.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("following", "strengths", "message"),
    [
        ([[1], []], [[1.0], []], "expected 3 rows"),
        ([[3], [], []], [[1.0], [], []], "must be in"),
        ([[-1], [], []], [[1.0], [], []], "must be in"),
        ([[1], [], []], [[1.0, 2.0], [], []], "as many strengths"),
        ([[1], None, []], [[1.0], [], []], "needs a list"),
        ([[None], [], []], [[1.0], [], []], "no nulls"),
        ([[1], [], []], [[0.0], [], []], "above 0"),
        ([[1], [], []], [[float("nan")], [], []], "above 0"),
    ],
)
def test_a_wrong_table_is_refused(
    tmp_path: Path, following: list[object], strengths: list[object], message: str
) -> None:
    pl.DataFrame({"following": following, "strengths": strengths}, schema=SCHEMA).write_parquet(tmp_path / "table")
    with pytest.raises(ValueError, match=message):
        read_transitions(tmp_path / "table", rows=3)
