from hypothesis import given
from hypothesis import strategies as st

from rqrec.service.search.fair_queue import ClientQueue, FairQueue


def queue_of(*pushes: tuple[str, int]) -> FairQueue[str, int]:
    queue: FairQueue[str, int] = FairQueue()
    for key, job in pushes:
        queue.push(key, job)
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
    queue: FairQueue[int, tuple[int, int]] = FairQueue()
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


def turn_of(queue: ClientQueue[str, int], limit: int, cost: float) -> tuple[str, list[int]]:
    turn = queue.pop(limit)
    assert turn is not None
    queue.charge(turn, cost)
    return turn.key, turn.jobs


def test_a_client_with_many_costly_jobs_keeps_nobody_waiting() -> None:
    queue: ClientQueue[str, int] = ClientQueue(weight=lambda job: job)
    for _ in range(50):
        queue.push("greedy", "wide", 10)
    turn_of(queue, 16, 10.0)
    queue.push("modest", "small", 1)
    assert turn_of(queue, 16, 1.0) == ("small", [1])
    assert turn_of(queue, 16, 10.0) == ("wide", [10])


def test_a_client_gains_nothing_by_asking_in_many_ways() -> None:
    queue: ClientQueue[str, int] = ClientQueue(weight=lambda _job: 1)
    for number in range(40):
        queue.push("greedy", f"filter {number}", 0)
        queue.push("modest", "plain", 1)
    served = [turn_of(queue, 1, 1.0)[1][0] for _ in range(40)]
    assert served.count(1) == 20


def test_free_places_of_a_batch_go_to_others_who_ask_alike() -> None:
    queue: ClientQueue[str, int] = ClientQueue(weight=lambda _job: 1)
    for client, key, job in (("a", "x", 1), ("b", "y", 2), ("b", "x", 3), ("c", "x", 4), ("c", "x", 5)):
        queue.push(client, key, job)
    turn = queue.pop(3)
    assert turn is not None
    assert (turn.key, turn.jobs, turn.weights) == ("x", [1, 3, 4], {"a": 1, "b": 1, "c": 1})
    assert len(queue) == 2


def test_a_batch_is_as_heavy_as_it_may_be_and_a_heavier_job_goes_alone() -> None:
    queue: ClientQueue[str, int] = ClientQueue(weight=lambda job: job)
    for job in (40, 10, 5, 5):
        queue.push("a", "x", job)
    assert turn_of(queue, 16, 1.0) == ("x", [40])
    assert turn_of(queue, 16, 1.0) == ("x", [10, 5])
    assert turn_of(queue, 16, 1.0) == ("x", [5])
    assert queue.pop(16) is None


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(1, 4), st.booleans()), max_size=60))
def test_every_client_gets_everything_once_and_in_order(steps: list[tuple[int, int, int, bool]]) -> None:
    queue: ClientQueue[int, tuple[int, int, int]] = ClientQueue(weight=lambda _job: 1)
    came: list[tuple[int, int, int]] = []

    def take(limit: int) -> bool:
        turn = queue.pop(limit)
        if turn is not None:
            assert len(turn.jobs) <= limit
            assert all(job[1] == turn.key for job in turn.jobs)
            came.extend(turn.jobs)
            queue.charge(turn, float(limit))
        return turn is not None

    for number, (client, key, limit, takes) in enumerate(steps):
        queue.push(str(client), key, (client, key, number))
        if takes:
            take(limit)
    while take(3):
        pass
    assert len(queue) == 0
    assert sorted(number for *_, number in came) == list(range(len(steps)))
    for client in range(4):
        for key in range(3):
            own = [number for one, of, number in came if (one, of) == (client, key)]
            assert own == sorted(own)
