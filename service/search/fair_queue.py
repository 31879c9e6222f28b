"""The search queue: decides which client has the next turn, and which jobs form a batch.

It is start-time fair queueing (Goyal et al. 1996) on two levels: between clients, and between the keys of one client. A
turn is due when the last one would have ended if all had an equal share of the machine. So the wide searches of one
client wait for each other, and other clients overtake them.

Nothing here reads a clock or starts a thread; `service.search.batcher` does.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

NameT = TypeVar("NameT", bound=Hashable)
KeyT = TypeVar("KeyT", bound=Hashable)
JobT = TypeVar("JobT")


class _Shares(Generic[NameT]):
    """Virtual time, in units of cost: when the next turn of each name is due."""

    def __init__(self) -> None:
        self._now = 0.0
        self._due: dict[NameT, float] = {}

    def enter(self, name: NameT) -> None:
        """Adds a client or key that has its first waiting job.

        Its turn is due now, or later if it still owes the cost of earlier turns. Time without jobs earns it nothing.
        """
        self._due[name] = max(self._due.get(name, self._now), self._now)

    def in_order(self, names: Iterable[NameT]) -> list[NameT]:
        """Sorts names by when they are due; equal ones keep their order."""
        return sorted(names, key=self._due.__getitem__)

    def begin_turn(self, name: NameT) -> None:
        """Moves virtual time to the turn of a name."""
        self._now = self._due[name]

    def forget(self) -> None:
        """Forgets all costs, because nothing waits."""
        self._now = 0.0
        self._due.clear()

    def charge(self, name: NameT, cost: float, waiting: Callable[[NameT], bool]) -> None:
        """Adds the cost of a turn to a name, and forgets the names that owe nothing.

        Args:
            name: The name that had the turn.
            cost: Cost of the turn.
            waiting: Whether a name has jobs that wait.
        """
        if name in self._due:  # else it was forgotten during its turn, because nothing waited
            self._due[name] += cost
        if len(self._due) > 1:
            for one in [one for one, due in self._due.items() if due <= self._now and not waiting(one)]:
                del self._due[one]


class FairQueue(Generic[KeyT, JobT]):
    """The jobs of one client, fair between keys by the cost of their batches. Jobs of one key share batches.

    Args:
        weight: Weight of a job in a batch; by default 1.
    """

    def __init__(self, weight: Callable[[JobT], int] = lambda _job: 1) -> None:
        self._weight = weight
        self._size = 0
        self._jobs: dict[KeyT, deque[JobT]] = {}
        self._shares: _Shares[KeyT] = _Shares()

    def __len__(self) -> int:
        return self._size

    def push(self, key: KeyT, job: JobT) -> None:
        """Adds a job at the end of its key's jobs.

        Args:
            key: The batch key.
            job: The job.
        """
        jobs = self._jobs.get(key)
        if jobs is None:
            jobs = self._jobs[key] = deque()
            self._shares.enter(key)
        jobs.append(job)
        self._size += 1

    def pop(self, limit: int) -> tuple[KeyT, list[JobT]] | None:
        """Takes jobs of the key that is due first, up to a weight but at least one; None if the queue is empty."""
        if not self._jobs:
            return None
        key = self._shares.in_order(self._jobs)[0]
        self._shares.begin_turn(key)
        return key, self.take(key, limit, at_least=1)

    def take(self, key: KeyT, limit: int, *, at_least: int = 0) -> list[JobT]:
        """Takes jobs of one key, oldest first.

        Args:
            key: The batch key.
            limit: Largest weight of all taken jobs.
            at_least: Number of jobs to take even over the limit.
        """
        jobs, taken = self._jobs.get(key), list[JobT]()
        while jobs and (len(taken) < at_least or self._weight(jobs[0]) <= limit):
            limit -= self._weight(jobs[0])
            taken.append(jobs.popleft())
        self._size -= len(taken)
        if jobs is not None and not jobs:
            del self._jobs[key]
        return taken

    def charge(self, key: KeyT, cost: float) -> None:
        """Adds the cost of a batch to its key.

        Args:
            key: The batch key.
            cost: Cost of the batch, in any unit that all calls share.
        """
        if self._size:
            self._shares.charge(key, cost, self._jobs.__contains__)
        else:
            self._shares.forget()


class Turn(NamedTuple, Generic[KeyT, JobT]):
    """One batch.

    Attributes:
        key: The batch key of all jobs.
        jobs: The jobs; those of the client that has the turn come first.
        weights: Weight of the jobs of each client.
    """

    key: KeyT
    jobs: list[JobT]
    weights: dict[str, int]


class ClientQueue(Generic[KeyT, JobT]):
    """Jobs by client and key, fair between clients by the cost of their searches.

    A batch has jobs of the client that is due first. Jobs of other clients with the same key fill it up.

    Args:
        weight: Weight of a job in a batch.
    """

    def __init__(self, weight: Callable[[JobT], int]) -> None:
        self._weight = weight
        self._size = 0
        self._queues: dict[str, FairQueue[KeyT, JobT]] = {}
        self._shares: _Shares[str] = _Shares()

    def __len__(self) -> int:
        return self._size

    def push(self, client: str, key: KeyT, job: JobT) -> None:
        """Adds a job.

        Args:
            client: Name of the client.
            key: The batch key.
            job: The job.
        """
        queue = self._queues.get(client)
        if queue is None:
            queue = self._queues[client] = FairQueue(self._weight)
        if not queue:
            self._shares.enter(client)
        queue.push(key, job)
        self._size += 1

    def pop(self, limit: int) -> Turn[KeyT, JobT] | None:
        """Takes the next batch, up to a weight but at least one job; None if the queue is empty."""
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
        """Adds the cost of a batch to its clients, in proportion to the weight of their jobs.

        Args:
            turn: The batch.
            cost: Cost of the batch, in any unit that all calls share.
        """
        if not self._size:  # an empty queue can be unfair to nobody
            self._queues.clear()
            self._shares.forget()
            return
        total = sum(turn.weights.values())
        for client, weight in turn.weights.items():
            if (queue := self._queues.get(client)) is not None:
                queue.charge(turn.key, cost * weight / total)
            self._shares.charge(client, cost * weight / total, self._has_jobs)
        for client in [client for client in turn.weights if not self._has_jobs(client)]:
            self._queues.pop(client, None)

    def _has_jobs(self, client: str) -> bool:
        return bool(self._queues.get(client))

    def _weigh(self, jobs: Iterable[JobT]) -> int:
        return sum(map(self._weight, jobs))
