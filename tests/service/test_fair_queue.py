from hypothesis import given
from hypothesis import strategies as st

from service.fair_queue import FairQueue


def queue_of(*pushes: tuple[str, int], capacity: int = 100) -> FairQueue[str, int]:
    queue: FairQueue[str, int] = FairQueue(capacity)
    for key, job in pushes:
        assert queue.push(key, job)
    return queue


def test_a_batch_is_of_one_group_oldest_first() -> None:
    queue = queue_of(("a", 1), ("b", 2), ("a", 3), ("a", 4))
    assert queue.pop(2) == ("a", [1, 3])
    assert len(queue) == 2
    queue.charge("a", 1.0)
    assert queue.pop(2) == ("b", [2])
    queue.charge("b", 1.0)
    assert queue.pop(2) == ("a", [4])
    queue.charge("a", 1.0)
    assert queue.pop(2) is None


def test_a_full_queue_takes_nothing() -> None:
    queue = queue_of(("a", 1), ("b", 2), capacity=2)
    assert queue.is_full
    assert not queue.push("c", 3)
    queue.pop(1)
    assert queue.push("c", 3)


def test_small_work_passes_costly_work_by() -> None:
    queue = queue_of(*(("wide", number) for number in range(50)), *(("small", number) for number in range(50)))
    served: list[str] = []
    for _ in range(22):
        popped = queue.pop(1)
        assert popped is not None
        served.append(popped[0])
        queue.charge(popped[0], 10.0 if popped[0] == "wide" else 1.0)
    assert served.count("wide") == 2


def test_idle_time_earns_no_credit() -> None:
    queue = queue_of(("a", 0), ("b", 0), ("b", 0))
    for key in ("a", "b", "b"):
        popped = queue.pop(1)
        assert popped is not None
        assert popped[0] == key
        queue.push("b", 0)
        queue.charge(key, 5.0)
    queue.push("a", 1)
    queue.push("a", 2)
    served = []
    for _ in range(4):
        popped = queue.pop(1)
        assert popped is not None
        served.append(popped[0])
        queue.charge(popped[0], 5.0)
    assert sorted(served) == ["a", "a", "b", "b"]


def test_a_group_forgotten_while_its_batch_ran_may_be_charged() -> None:
    queue = queue_of(("a", 1), ("a", 2))
    assert queue.pop(1) == ("a", [1])
    assert queue.pop(1) == ("a", [2])
    queue.charge("a", 1.0)
    queue.charge("a", 1.0)
    assert queue.pop(1) is None


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4), st.booleans()), max_size=60))
def test_everything_comes_out_once_and_in_order_within_its_group(steps: list[tuple[int, int, bool]]) -> None:
    queue: FairQueue[int, tuple[int, int]] = FairQueue(1000)
    came: list[tuple[int, int]] = []
    for number, (key, limit, takes) in enumerate(steps):
        queue.push(key, (key, number))
        if takes and (popped := queue.pop(limit)) is not None:
            assert all(job[0] == popped[0] for job in popped[1])
            came += popped[1]
            queue.charge(popped[0], float(limit))
    while (popped := queue.pop(3)) is not None:
        came += popped[1]
        queue.charge(popped[0], 1.0)
    assert len(queue) == 0
    assert sorted(number for _, number in came) == list(range(len(steps)))
    for key in range(4):
        own = [number for group, number in came if group == key]
        assert own == sorted(own)
