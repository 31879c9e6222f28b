from pathlib import Path

import numpy as np
import pytest

from rqrec.models.mapped_rows import map_rows

ROWS_ND = np.arange(3000, dtype=np.float32).reshape(1000, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.save(tmp_path / "rows.npy", ROWS_ND)
    return tmp_path / "rows.npy"


def test_rows_of_the_file_are_followed_by_room_that_can_be_written(path: Path) -> None:
    rows = map_rows(path, room=5000)
    assert rows.shape == (6000, 3)
    assert (rows[:1000] == ROWS_ND).all()
    assert not rows[1000:].any()
    rows[999:] = 7
    assert (rows[:999] == ROWS_ND[:999]).all()
    assert (rows[999:] == 7).all()


def test_writing_to_the_rows_does_not_change_the_file(path: Path) -> None:
    map_rows(path)[:] = 7
    assert (np.load(path) == ROWS_ND).all()


@pytest.mark.parametrize("keep", [-4, -2000, 60])
def test_a_truncated_file_is_refused(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"expected 1000 rows|EOF|header"):
        map_rows(path)


def test_an_empty_array_and_objects_are_refused(tmp_path: Path) -> None:
    for array in (np.empty((0, 3)), np.array([None]), np.array(1.0), np.asfortranarray(np.ones((2, 3)))):
        np.save(tmp_path / "other.npy", array)
        with pytest.raises(ValueError, match="expected rows of numbers"):
            map_rows(tmp_path / "other.npy")
