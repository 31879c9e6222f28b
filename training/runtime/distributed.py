"""Training in several processes: who does what, and how their gradients come together.

`torchrun --nproc-per-node=2 -m training.pipeline …` starts them. Every process runs every stage; the first one alone
makes and writes what needs no training. A training starts in all of them from the first one's weights; all take their
part of every batch, and the sum of their gradients is that of the whole batch. What is to be decided (which checkpoint,
whether a result stands) the first one decides for all. Without torchrun there is one process, and nothing here costs
anything.
"""

import os
from collections.abc import Iterable
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from rqrec.training.runtime.device import training_device

T = TypeVar("T")
LONGEST_STAGE = timedelta(hours=24)  # while the first process works alone, the others wait


def init() -> None:
    """Joins the other processes if torchrun started this one: over NCCL on GPUs, else over gloo."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group(backend, timeout=LONGEST_STAGE)


def destroy() -> None:
    """Leaves the other processes."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def rank() -> int:
    """This process's number; 0 is the first."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def barrier() -> None:
    """Returns when every process has come here."""
    if world_size() > 1:
        distributed.barrier()


def broadcast(value: T) -> T:
    """The first process's value, in every process; waits for the first.

    Args:
        value: Anything that can be pickled; tensors on the CPU.
    """
    if world_size() == 1:
        return value
    shared = [value]
    distributed.broadcast_object_list(shared, src=0, device=training_device())
    return shared[0]


@torch.no_grad()
def broadcast_tensors(tensors: Iterable[Tensor]) -> None:
    """Overwrites tensors by the first process's, in place."""
    if world_size() == 1:
        return
    for tensor in tensors:
        distributed.broadcast(tensor, src=0)


def any_rank(flag: bool) -> bool:
    """Whether the flag is true in any process; waits for all."""
    if world_size() == 1:
        return flag
    flags = torch.tensor([float(flag)], device=training_device())
    distributed.all_reduce(flags)
    return bool(flags)


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Adds every process's gradients up, in place; a missing gradient counts as zero."""
    if world_size() == 1:
        return
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        distributed.all_reduce(parameter.grad)
