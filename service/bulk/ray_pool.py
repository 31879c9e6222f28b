"""Makes slices by Ray Data, with an actor for each core or GPU of a cluster.

An actor reads the users of a slice and writes their lists, by the same function as without Ray. So a slice that Ray
makes again, after it has lost a node, replaces its files by equal ones. All nodes must see the same files under the
same paths.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import ray

from rqrec.models.errors import UserError
from rqrec.models.ray_cluster import RayUnavailable, ray_cluster
from rqrec.models.ray_tasks import Actors, run_in_actors
from rqrec.service.bulk.figures import Figures
from rqrec.service.bulk.local_pool import ONE_THREAD
from rqrec.service.bulk.part_maker import Job, PartMaker
from rqrec.service.bulk.source import Slice
from rqrec.service.settings import Device


class RayPool:
    """Actors of a Ray cluster. Each loads the model once.

    Args:
        job: What all slices have in common.
        workers: The largest number of actors; None for all cores or GPUs that the cluster has at the start.

    Raises:
        RayUnavailable: If the cluster has no core or GPU.
    """

    def __init__(self, job: Job, workers: int | None) -> None:
        resources = ray.cluster_resources()
        on_gpu = job.load.device is Device.CUDA or (job.load.device is Device.AUTO and resources.get("GPU", 0) > 0)
        count = int(resources.get("GPU" if on_gpu else "CPU", 0))
        if not count:
            raise RayUnavailable(f"the Ray cluster must have a free core or GPU, it has {resources}: add a node")
        self._job, self._actors = job, Actors(min(workers or count, count), cores=1, gpus=int(on_gpu))

    def check(self) -> None:
        """Checks in one process of the cluster that the bundle can be served, and that the request fits it.

        Raises:
            UserError: If one of these is not so.
        """
        with _causes():
            ray.get(ray.remote(_check).options(num_cpus=1, num_gpus=self._actors.gpus).remote(self._job))

    def make(self, slices: Sequence[Slice]) -> Iterator[Figures]:
        """Makes slices, and yields the counts of each as soon as it is written, in any order.

        Args:
            slices: The slices.

        Raises:
            UserError: If a file of the input was changed.
        """
        yield from run_in_actors(partial(_open, self._job), slices, self._actors)


@contextmanager
def ray_pool(job: Job, address: str, workers: int | None) -> Iterator[RayPool]:
    """Connects to a Ray cluster, or starts one on this machine, until the end of the block.

    Args:
        job: What all slices have in common.
        address: `local` to start Ray on this machine; `auto` or an address for a cluster that is running.
        workers: The largest number of actors; None for all cores or GPUs of the cluster.

    Raises:
        RayUnavailable: If there is no cluster at the address.
    """
    with ray_cluster(address, cores=workers, variables=ONE_THREAD):
        yield RayPool(job, workers)


@contextmanager
def _causes() -> Iterator[None]:
    """Raises the errors that a user can repair as they were raised in the cluster."""
    try:
        yield
    except ray.exceptions.RayError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(getattr(cause, "cause", cause), UserError):
            cause = cause.__cause__
        if cause is None:
            raise
        raise getattr(cause, "cause", cause) from None


def _open(job: Job) -> Callable[[Slice], Figures]:
    return PartMaker(job).make


def _check(job: Job) -> None:
    PartMaker(job)
