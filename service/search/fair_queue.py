"""The queue before the search: whose turn it is, and what is searched together.

Start-time fair queueing (Goyal et al. 1996), twice: between clients, and between the searches of one client that
cannot share a batch. A turn is due when the last one would have ended, had everybody an equal share of the machine. So
the wide searches of one client wait for each other, and everybody else passes them by.
Nothing here reads a clock or starts a thread; `service.search.batcher` does.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

NameT = TypeVar("NameT", bound=Hashable)
KeyT = TypeVar("KeyT", bound=Hashable)
JobT = TypeVar("JobT")


class _Shares(Generic[NameT]):
    """When whose next turn is due, in units of cost."""

    def __init__(self) -> None:
        self._now = 0.0
        self._due: dict[NameT, float] = {}

    def enter(self, name: NameT) -> None:
        """A name that had nothing waiting has something now; idle time earned it no credit."""
        self._due[name] = max(self._due.get(name, self._now), self._now)

    def in_order(self, names: Iterable[NameT]) -> list[NameT]:
        """The names, the one that is due first at the head; of equals, the one that was given first."""
        return sorted(names, key=self._due.__getitem__)

    def begin_turn(self, name: NameT) -> None:
        """It is this name's turn."""
        self._now = self._due[name]

    def charge(self, name: NameT, cost: float, waiting: Callable[[NameT], bool], *, anybody: bool) -> None:
        """Notes what a turn has cost, and forgets those who are even."""
        if name in self._due:  # else forgotten while the turn took place, for nobody waited
            self._due[name] += cost
        if not anybody:  # nobody waits who could be treated unfairly
            self._now = 0.0
            self._due.clear()
        else:
            for one in [one for one, due in self._due.items() if due <= self._now and not waiting(one)]:
                del self._due[one]


class FairQueue(Generic[KeyT, JobT]):
    """Jobs by the key that they may share a batch with, fair between keys by what their batches cost.

    Args:
        weight: What a job counts for in a batch; by default 1.
    """

    def __init__(self, weight: Callable[[JobT], int] = lambda _job: 1) -> None:
        self._weight = weight
        self._size = 0
        self._jobs: dict[KeyT, deque[JobT]] = {}
        self._shares: _Shares[KeyT] = _Shares()

    def __len__(self) -> int:
        return self._size

    def push(self, key: KeyT, job: JobT) -> None:
        """Adds a job to the end of its key's."""
        jobs = self._jobs.get(key)
        if jobs is None:
            jobs = self._jobs[key] = deque()
            self._shares.enter(key)
        jobs.append(job)
        self._size += 1

    def pop(self, limit: int) -> tuple[KeyT, list[JobT]] | None:
        """Takes jobs up to a weight, at least one, of the key that is due first; None where nothing waits."""
        if not self._jobs:
            return None
        key = self._shares.in_order(self._jobs)[0]
        self._shares.begin_turn(key)
        return key, self.take(key, limit, at_least=1)

    def take(self, key: KeyT, limit: int, *, at_least: int = 0) -> list[JobT]:
        """Takes a key's jobs, oldest first, up to a weight, and at least so many if they are there."""
        jobs, taken = self._jobs.get(key), list[JobT]()
        while jobs and (len(taken) < at_least or self._weight(jobs[0]) <= limit):
            limit -= self._weight(jobs[0])
            taken.append(jobs.popleft())
        self._size -= len(taken)
        if jobs is not None and not jobs:
            del self._jobs[key]
        return taken

    def charge(self, key: KeyT, cost: float) -> None:
        """Notes what a batch has cost, in any unit that all keys share."""
        self._shares.charge(key, cost, self._jobs.__contains__, anybody=bool(self._size))


class Turn(NamedTuple, Generic[KeyT, JobT]):
    """What is searched together.

    Attributes:
        key: Of all jobs.
        jobs: Those of the client whose turn it is come first.
        weights: Of the jobs, by client.
    """

    key: KeyT
    jobs: list[JobT]
    weights: dict[str, int]


class ClientQueue(Generic[KeyT, JobT]):
    """Jobs by client and key, fair between clients by what their searches cost.

    A batch is of the client that is due first; others with the same key fill its free places.

    Args:
        weight: What a job counts for in a batch.
    """

    def __init__(self, weight: Callable[[JobT], int]) -> None:
        self._weight = weight
        self._size = 0
        self._queues: dict[str, FairQueue[KeyT, JobT]] = {}
        self._shares: _Shares[str] = _Shares()

    def __len__(self) -> int:
        return self._size

    def push(self, client: str, key: KeyT, job: JobT) -> None:
        """Adds a job."""
        queue = self._queues.get(client)
        if queue is None:
            queue = self._queues[client] = FairQueue(self._weight)
        if not queue:
            self._shares.enter(client)
        queue.push(key, job)
        self._size += 1

    def pop(self, limit: int) -> Turn[KeyT, JobT] | None:
        """Takes the next jobs up to a weight, at least one; None where nothing waits."""
        if not self._size:
            return None
        first, *others = self._shares.in_order([client for client, queue in self._queues.items() if queue])
        self._shares.begin_turn(first)
        popped = self._queues[first].pop(limit)
        assert popped is not None
        key, jobs = popped
        weights = {first: self._weigh(jobs)}
        left = limit - weights[first]
        for client in others:
            if left <= 0:
                break
            if more := self._queues[client].take(key, left):
                weights[client] = self._weigh(more)
                left -= weights[client]
                jobs += more
        self._size -= len(jobs)
        return Turn(key, jobs, weights)

    def charge(self, turn: Turn[KeyT, JobT], cost: float) -> None:
        """Notes what a turn has cost; each client pays for its own jobs."""
        total = sum(turn.weights.values())
        for client, weight in turn.weights.items():
            if (queue := self._queues.get(client)) is not None:
                queue.charge(turn.key, cost * weight / total)
            self._shares.charge(client, cost * weight / total, self._has_jobs, anybody=bool(self._size))
        for client in [client for client in turn.weights if not self._has_jobs(client)]:
            self._queues.pop(client, None)

    def _has_jobs(self, client: str) -> bool:
        return bool(self._queues.get(client))

    def _weigh(self, jobs: Iterable[JobT]) -> int:
        return sum(map(self._weight, jobs))
