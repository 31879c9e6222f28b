"""The work of a training in an open Ray cluster (`models.ray_cluster`). It needs the extra `ray`.

Ray Train starts workers. Each is a rank like a process of torchrun, and runs the same function
(`training.runtime.distributed`). If a worker or its machine is lost, Ray starts all workers again, and they go on from
the last checkpoint in the workspace. Ray Data runs the parts of what is computed for each item
(`training.runtime.parts`). So all machines must see the workspace, the data and the current folder under the same
paths.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import WorkerGroupError

from rqrec.models.errors import UserError
from rqrec.models.ray_cluster import RayUnavailable
from rqrec.models.ray_tasks import Actors, run_in_actors
from rqrec.training.runtime.distributed import LONGEST_STAGE

MOST_LOST = 3
TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")


class WorkersLost(UserError):
    """Raised when the workers of a training failed too often. The message has the last reason."""


def train_on_ray(train: Callable[[], None], *, workers: int | None, files: Path, most_lost: int = MOST_LOST) -> None:
    """Runs a function in each of several workers of Ray Train, as one training.

    Args:
        train: The function. It is copied to the workers, and must resume from checkpoints if it is called again.
        workers: The number of workers; None for one for each GPU, or without GPUs one for each machine.
        files: A folder that all machines see, for Ray's own files. It is deleted.
        most_lost: How often workers may fail before the training is given up.

    Raises:
        RayUnavailable: If the cluster has too few cores or GPUs.
        UserError: If the function raised one in a worker.
        WorkersLost: If workers failed more often than `most_lost`.
    """
    scaling = _scaling(workers)
    trainer = TorchTrainer(
        partial(_in_folder, Path.cwd(), train),
        torch_config=TorchConfig(
            backend="nccl" if scaling.use_gpu else "gloo", timeout_s=int(LONGEST_STAGE.total_seconds())
        ),
        scaling_config=scaling,
        run_config=RunConfig(
            name="training", storage_path=str(files.resolve()), failure_config=FailureConfig(most_lost)
        ),
    )
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    try:
        trainer.fit()
    except TrainingFailedError as error:
        raise _cause(error) from None
    except SystemExit:  # Ray ends the process at Ctrl-C, without a word
        raise KeyboardInterrupt from None
    finally:
        shutil.rmtree(files, ignore_errors=True)


def run_tasks_on_ray(
    open_worker: Callable[[], Callable[[TaskT], ResultT]],
    tasks: Sequence[TaskT],
    *,
    uses_gpu: bool,
    workers: int | None,
) -> Iterator[ResultT]:
    """Runs tasks in actors of Ray Data, and yields their results in any order; see `training.runtime.parts.RunTasks`.

    Args:
        open_worker: Returns the function that runs a task. Each actor calls it once.
        tasks: The tasks.
        uses_gpu: Whether an actor gets a GPU, if the cluster has some.
        workers: The number of actors, which share the cores as the workers of a training do; None for one for each GPU
            if they use them, or else one for each core.

    Raises:
        RayUnavailable: If the cluster has too few cores or GPUs.
        UserError: If a task raised it.
    """
    resources = ray.cluster_resources()
    uses_gpu = uses_gpu and resources.get("GPU", 0) > 0
    scaling = _scaling(workers or int(resources.get("GPU" if uses_gpu else "CPU", 0)), uses_gpu=uses_gpu)
    assert isinstance(scaling.num_workers, int)
    actors = Actors(scaling.num_workers, cores=int(scaling.num_cpus_per_worker), gpus=int(uses_gpu))
    yield from run_in_actors(partial(_in_folder, Path.cwd(), open_worker), tasks, actors)


def _scaling(workers: int | None, *, uses_gpu: bool = True) -> ScalingConfig:
    """Returns the number of workers and what each of them gets: a GPU, and its share of its machine's cores.

    Args:
        workers: The number of workers; None for one for each GPU, or without GPUs one for each machine.
        uses_gpu: Whether each worker gets a GPU, if the cluster has some.

    Raises:
        RayUnavailable: If the cluster has too few cores or GPUs.
    """
    gpus = int(ray.cluster_resources().get("GPU", 0)) if uses_gpu else 0
    cores = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    cores = [count for count in cores if count]
    count = workers or gpus or len(cores)
    kind, available = ("GPU", gpus) if gpus else ("core", sum(cores))
    if not count or count > available:
        raise RayUnavailable(
            f"each of {max(count, 1)} workers needs a {kind}, and Ray has {available} (of this machine alone, or of "
            "its cluster): ask for fewer workers (--workers), or add nodes to the cluster"
        )
    share = max(min(cores) // -(-count // len(cores)), 1)
    return ScalingConfig(num_workers=count, use_gpu=bool(gpus), resources_per_worker={"CPU": share})


def _in_folder(folder: Path, begin: Callable[[], ResultT]) -> ResultT:
    os.chdir(folder)  # relative paths in the settings mean the same as in the process that started the training
    return begin()


def _cause(error: TrainingFailedError) -> UserError:
    failures = list(error.worker_failures.values()) if isinstance(error, WorkerGroupError) else [error]
    for failure in failures:
        original: object = getattr(failure, "cause", failure)
        if isinstance(original, UserError):
            return original
    return WorkersLost(
        f"the training on Ray failed: {failures[0] if failures else error}. Run the same command to resume; its log is "
        "above"
    )
