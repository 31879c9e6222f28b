import pickle

import numpy as np
import pytest

pytest.importorskip("ray")
from collections.abc import Callable

from rqrec.models.errors import UserError
from rqrec.models.ray_tasks import RESULT, TASK, _Actor


def rows(*tasks: int) -> dict[str, np.ndarray]:
    return {TASK: np.array([pickle.dumps(task) for task in tasks], dtype=np.object_)}


def test_an_actor_opens_its_worker_once_and_gives_back_errors_for_users() -> None:
    opened: list[str] = []

    def open_worker() -> Callable[[int], float]:
        opened.append("worker")

        def halve(number: int) -> float:
            if number % 2:
                raise UserError(f"expected an even number, got {number}")
            return number / 2

        return halve

    actor = _Actor(open_worker)
    assert opened == []
    (two, none), (failed, error) = [pickle.loads(result) for result in actor(rows(4, 3))[RESULT]]
    assert (two, none, failed, str(error)) == (2.0, None, None, "expected an even number, got 3")
    assert isinstance(error, UserError)
    actor(rows(6))
    assert opened == ["worker"]
    with pytest.raises(TypeError):
        actor({TASK: np.array([pickle.dumps("four")], dtype=np.object_)})
