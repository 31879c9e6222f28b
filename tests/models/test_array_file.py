import errno
import resource
from pathlib import Path

import numpy as np
import pytest

from rqrec.models.array_file import write_array
from tests.training.forked import start


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.int32).reshape(2, 3).T,
        np.array([True, False]),
        np.zeros((0, 4), dtype=np.float32),
        np.full((1, 1), 1.5, dtype=np.float32),
    ],
)
def test_the_file_is_that_of_numpy(tmp_path: Path, array: np.ndarray) -> None:
    write_array(tmp_path / "one.npy", array)
    np.save(tmp_path / "other.npy", np.ascontiguousarray(array), allow_pickle=False)
    assert (tmp_path / "one.npy").read_bytes() == (tmp_path / "other.npy").read_bytes()


def write_too_much(path: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        write_array(path, np.zeros(1000))
    except OSError as error:
        raise SystemExit(error.errno) from None


def test_an_error_has_its_number(tmp_path: Path) -> None:
    assert start(write_too_much, tmp_path / "one.npy", folder=tmp_path).finish().returncode == errno.EFBIG
