"""The search queue: decides whose jobs are searched next, and which jobs form a batch.

A job is a request that waits for its search. Only jobs with equal batch keys can share a batch.

The queue uses start-time fair queueing (Goyal et al. 1996) on two levels: between clients, and between the batch keys
of one client. Every client gets an equal share of the search time. So if one client sends many expensive searches, they
wait for each other, and the jobs of other clients overtake them.

This module reads no clock and starts no thread; `service.search.batcher` does both.
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
    """A queue of one client's jobs, which are requests that wait for their search.

    All jobs of a batch have the same batch key. The batch keys that have waiting jobs get equal shares of the search
    time.

    Args:
        weight: Function that returns the weight of a job in a batch; by default always 1.
    """

    def __init__(self, weight: Callable[[JobT], int] = lambda _job: 1) -> None:
        self._weight = weight
        self._size = 0
        self._jobs: dict[KeyT, deque[JobT]] = {}
        self._shares: _Shares[KeyT] = _Shares()

    def __len__(self) -> int:
        return self._size

    def push(self, key: KeyT, job: JobT) -> None:
        """Adds a job behind the other jobs with the same key.

        Args:
            key: The batch key of the job.
            job: The job.
        """
        jobs = self._jobs.get(key)
        if jobs is None:
            jobs = self._jobs[key] = deque()
            self._shares.enter(key)
        jobs.append(job)
        self._size += 1

    def pop(self, limit: int) -> tuple[KeyT, list[JobT]] | None:
        """Removes the next batch from the queue: the oldest jobs of the key that recently used the least search time.

        Args:
            limit: Largest total weight of the batch. The first job is taken even if it is heavier.

        Returns:
            The key and its jobs; None if the queue is empty.
        """
        if not self._jobs:
            return None
        key = self._shares.in_order(self._jobs)[0]
        self._shares.begin_turn(key)
        return key, self.take(key, limit, at_least=1)

    def take(self, key: KeyT, limit: int, *, at_least: int = 0) -> list[JobT]:
        """Removes jobs with one key from the queue and returns them, oldest first.

        Args:
            key: The batch key.
            limit: Largest total weight of the returned jobs.
            at_least: Number of jobs that are taken even if they are heavier than `limit`.
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
        """Adds the cost of a finished batch to the search time that its batch key has used.

        `FairQueue.pop` then prefers the other keys for a while.

        Args:
            key: The batch key.
            cost: Cost of the batch, such as its time in seconds; in the same unit at every call.
        """
        if self._size:
            self._shares.charge(key, cost, self._jobs.__contains__)
        else:
            self._shares.forget()


class Turn(NamedTuple, Generic[KeyT, JobT]):
    """One batch of jobs with equal keys, as `ClientQueue.pop` returns it.

    Attributes:
        key: The batch key of all jobs.
        jobs: The jobs. The first ones belong to the client whose turn it was; jobs of other clients fill up the batch.
        weights: Total weight of the jobs of each client, by the client's name.
    """

    key: KeyT
    jobs: list[JobT]
    weights: dict[str, int]


class ClientQueue(Generic[KeyT, JobT]):
    """A queue of the jobs of all clients. A job is a request that waits for its search.

    All clients that have waiting jobs get equal shares of the search time.

    A batch starts with jobs of the client that recently used the least search time. If there is room left, jobs of
    other clients with the same batch key fill it up.

    Args:
        weight: Function that returns the weight of a job in a batch.
    """

    def __init__(self, weight: Callable[[JobT], int]) -> None:
        self._weight = weight
        self._size = 0
        self._queues: dict[str, FairQueue[KeyT, JobT]] = {}
        self._shares: _Shares[str] = _Shares()

    def __len__(self) -> int:
        return self._size

    def push(self, client: str, key: KeyT, job: JobT) -> None:
        """Adds a job to the queue.

        Args:
            client: Name of the client.
            key: The batch key of the job.
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
        """Removes the next batch from the queue and returns it; returns None if the queue is empty.

        Args:
            limit: Largest total weight of the batch. The first job is taken even if it is heavier.
        """
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
        """Adds the cost of a finished batch to the search time that its clients have used.

        `ClientQueue.pop` then prefers other clients for a while. The cost is divided between the clients of the batch
        in proportion to the weights of their jobs.

        Args:
            turn: The batch.
            cost: Cost of the batch, such as its time in seconds; in the same unit at every call.
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
