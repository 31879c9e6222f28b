"""The queue before the search: bounded, in groups that can be searched together, fair between groups by their cost.

Start-time fair queueing (Goyal et al. 1996): a group's next batch is due when its last one would have ended, had every
group its share of the machine. So one client's wide searches wait for their own kind, and small ones pass them by.
Nothing here reads a clock or starts a thread; `service.batcher` does.
"""

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
JobT = TypeVar("JobT")


@dataclass
class _Group(Generic[JobT]):
    due: float
    jobs: deque[JobT] = field(default_factory=deque)


class FairQueue(Generic[KeyT, JobT]):
    """Jobs by the group that they may share a search with.

    Args:
        capacity: Jobs that may wait at the same time.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._size = 0
        self._now = 0.0
        self._groups: dict[KeyT, _Group[JobT]] = {}

    def __len__(self) -> int:
        return self._size

    @property
    def is_full(self) -> bool:
        """Whether `push` would refuse."""
        return self._size >= self.capacity

    def push(self, key: KeyT, job: JobT) -> bool:
        """Adds a job to the end of its group; False, and nothing added, where the queue is full."""
        if self.is_full:
            return False
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(self._now)
        elif not group.jobs:  # idle time earns no credit
            group.due = max(group.due, self._now)
        group.jobs.append(job)
        self._size += 1
        return True

    def pop(self, limit: int) -> tuple[KeyT, list[JobT]] | None:
        """Takes up to `limit` jobs of the group that is due first, oldest first; None where nothing waits."""
        waiting = [(group.due, key) for key, group in self._groups.items() if group.jobs]
        if not waiting:
            return None
        due, key = min(waiting, key=lambda one: one[0])  # of equals, the one that came first
        self._now = due
        group = self._groups[key]
        jobs = [group.jobs.popleft() for _ in range(min(limit, len(group.jobs)))]
        self._size -= len(jobs)
        return key, jobs

    def charge(self, key: KeyT, cost: float) -> None:
        """Notes what a popped batch has cost, in any unit that all groups share, and forgets groups that are even."""
        group = self._groups.get(key)
        if group is None:  # forgotten while the batch ran, for nobody else waited
            return
        group.due += cost
        if not self._size:  # nobody waits who could be treated unfairly
            self._now = 0.0
            self._groups.clear()
        else:
            even = [one for one, other in self._groups.items() if not other.jobs and other.due <= self._now]
            for one in even:
                del self._groups[one]
