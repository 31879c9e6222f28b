"""Makes slices by Ray Data, with an actor for each core or GPU of a cluster.

A row of Ray's data set is a slice, not a user: its actor reads the users and writes their lists, by the same function
as without Ray. So a slice that Ray makes again, after it has lost a node, replaces its files by equal ones. All nodes
must see the same files under the same paths.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.data
from numpy.typing import NDArray

from rqrec.models.errors import UserError
from rqrec.models.ray_cluster import RayUnavailable, ray_cluster
from rqrec.service.bulk.figures import Figures
from rqrec.service.bulk.local_pool import ONE_THREAD
from rqrec.service.bulk.part_maker import Job, PartMaker
from rqrec.service.bulk.source import InputFile, Slice
from rqrec.service.settings import Device

SLICE_NUMBERS, FILE_NUMBERS = ("number", "first_row", "num_rows"), ("size", "mtime_ns")
Rows = dict[str, NDArray[Any]]


class RayPool:
    """Actors of a Ray cluster. Each loads the model once.

    Args:
        job: What all slices have in common.
        workers: The largest number of actors; None for all cores or GPUs that the cluster has at the start.

    Raises:
        RayUnavailable: If the cluster has no core or GPU.
    """

    def __init__(self, job: Job, workers: int | None) -> None:
        self._job, resources = job, ray.cluster_resources()
        on_gpu = job.load.device is Device.CUDA or (job.load.device is Device.AUTO and resources.get("GPU", 0) > 0)
        count = int(resources.get("GPU" if on_gpu else "CPU", 0))
        if not count:
            raise RayUnavailable(f"the Ray cluster must have a free core or GPU, it has {resources}: add a node")
        self._num_gpus = int(on_gpu)  # for each actor
        self._workers = min(workers or count, count)

    def check(self) -> None:
        """Checks in one process of the cluster that the bundle can be served, and that the request fits it.

        Raises:
            UserError: If one of these is not so.
        """
        with _causes():
            ray.get(ray.remote(_check).options(num_cpus=1, num_gpus=self._num_gpus).remote(self._job))

    def make(self, slices: Sequence[Slice]) -> Iterator[Figures]:
        """Makes slices, and yields the counts of each as soon as it is written, in any order.

        Args:
            slices: The slices.

        Raises:
            UserError: If a file of the input was changed.
        """
        if not slices:
            return
        rows = ray.data.from_items([_as_row(one) for one in slices], override_num_blocks=len(slices))
        made = rows.map_batches(
            _SliceActor,
            fn_constructor_args=(self._job,),
            batch_size=1,
            # all actors start at once; fewer go on if a node is lost
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=self._workers, initial_size=self._workers),
            num_cpus=1,
            num_gpus=self._num_gpus,
        )
        with _causes():
            for row in made.iter_rows():
                yield Figures(**row)


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
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
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


class _SliceActor:
    """Makes the slices that Ray gives to one actor. Rows have one column for each field of a slice or of its counts."""

    def __init__(self, job: Job) -> None:
        self._maker = PartMaker(job)

    def __call__(self, rows: Rows) -> Rows:
        slices = [_as_slice(dict(zip(rows, values, strict=True))) for values in zip(*rows.values(), strict=True)]
        made = [self._maker.make(one).as_fields() for one in slices]
        return {name: np.array([fields[name] for fields in made]) for name in made[0]}


def _as_row(slice_: Slice) -> dict[str, Any]:
    file = slice_.file
    numbers = {name: getattr(slice_, name) for name in SLICE_NUMBERS} | {
        name: getattr(file, name) for name in FILE_NUMBERS
    }
    return {**numbers, "path": str(file.path)}


def _as_slice(row: Mapping[str, Any]) -> Slice:
    file = InputFile(Path(row["path"]), **{name: int(row[name]) for name in FILE_NUMBERS})
    return Slice(file=file, **{name: int(row[name]) for name in SLICE_NUMBERS})


def _check(job: Job) -> None:
    PartMaker(job)
