"""Training in several processes (ranks): functions to start, to wait for each other, and to share values.

`torchrun --nproc-per-node=2 -m rqrec train …` starts two processes, each of which is a rank. All ranks go through all
stages. Stages without training run in rank 0 alone, while the other ranks wait. Rank 0 takes every decision for all
ranks: which checkpoint is used, and whether a stored result is still valid. In training every rank computes its own
parts of each batch, and PyTorch's DistributedDataParallel averages the gradients. Without torchrun there is one
process, and these functions have nothing to do.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from rqrec.models.errors import UserError
from rqrec.training.runtime.device import training_device

T = TypeVar("T")
LONGEST_STAGE = timedelta(hours=24)  # the other ranks wait while rank 0 runs a stage alone


class TooFewGpus(UserError):
    """Raised when torchrun started more processes on this machine than it has GPUs. The message says what to do."""


def init() -> None:
    """Joins the process group if torchrun started this process: NCCL on GPUs, gloo on CPUs.

    Raises:
        TooFewGpus: If this machine has GPUs, but fewer of them than torchrun started processes on it.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        return
    gpus, processes = torch.cuda.device_count(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if 0 < gpus < processes:
        raise TooFewGpus(
            f"expected a GPU for each of the {processes} processes on this machine, got {gpus}: start torchrun with "
            f"--nproc-per-node={gpus}, or set CUDA_VISIBLE_DEVICES= to train on the CPU"
        )
    if gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if gpus else "gloo", timeout=LONGEST_STAGE)


def destroy() -> None:
    """Leaves the process group. Does nothing if this process is in none."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def rank() -> int:
    """Returns this process's rank, in [0, world size); 0 if it trains alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """Returns the number of processes that train together; 1 without torchrun."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def barrier() -> None:
    """Waits until every rank has called this function."""
    if world_size() > 1:
        distributed.barrier()


def broadcast(value: T) -> T:
    """Sends rank 0's value to all ranks, and returns it. The other ranks wait for rank 0.

    Args:
        value: Anything that can be pickled, with its tensors on the CPU. Only rank 0's value is read.
    """
    if world_size() == 1:
        return value
    shared = [value]
    distributed.broadcast_object_list(shared, src=0, device=training_device())
    return shared[0]


def any_rank(flag: bool) -> bool:
    """Returns whether the flag is true in at least one rank. Every rank waits for all others."""
    if world_size() == 1:
        return flag
    flags = torch.tensor([float(flag)], device=training_device())
    distributed.all_reduce(flags)
    return bool(flags)


def data_parallel(model: nn.Module) -> nn.Module:
    """Wraps a model so that `backward` averages its gradients over all ranks.

    Wrapping overwrites the weights of every rank by those of rank 0. Every rank must then call the wrapped model, and
    `backward`, equally often, because the ranks wait for each other there. With one process the model itself is
    returned.
    """
    return model if world_size() == 1 else DistributedDataParallel(model)


def averaging(model: nn.Module, *, enabled: bool) -> AbstractContextManager[object]:
    """Returns a context manager that switches the averaging of gradients over ranks on or off.

    Args:
        model: A model that `data_parallel` returned. Its forward and backward passes must be inside the context.
        enabled: If true, `backward` averages the gradients over all ranks. If false, it only adds them to the gradients
            of this rank; use this for all parts of a batch except the last.
    """
    return nullcontext() if enabled or not isinstance(model, DistributedDataParallel) else model.no_sync()
