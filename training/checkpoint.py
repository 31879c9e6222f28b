"""Checkpoints: weights as safetensors, and beside them all that is needed to go on as if nothing had happened."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from models.bundle import new_directory

WEIGHTS, BEST_WEIGHTS, STATE = "weights.safetensors", "best.safetensors", "state.pt"
KEPT = 2


@dataclass
class Progress:
    """How far training has come.

    Attributes:
        step: Optimiser steps done.
        epoch: The epoch that is running.
        batch: Batches of that epoch done.
        best_score: The best validation score so far, higher being better.
        best_epoch: The epoch that reached it.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    best_score: float = -torch.inf
    best_epoch: int = -1


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    best_weights: dict[str, Tensor] | None,
) -> Path:
    """Writes a checkpoint below the folder, whole or not at all, and removes all but the newest few."""
    target = folder / f"step-{progress.step:08d}"
    with new_directory(target) as directory:
        save_file(copy_weights(model), directory / WEIGHTS)
        if best_weights is not None:
            save_file(best_weights, directory / BEST_WEIGHTS)
        cuda_rng = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        state = {
            "progress": asdict(progress),
            "optimizer": optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": cuda_rng,
        }
        torch.save(state, directory / STATE)
    for old in sorted(folder.glob("step-*"))[:-KEPT]:
        shutil.rmtree(old)
    return target


def restore_latest_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Progress, dict[str, Tensor] | None]:
    """Brings model, optimiser and random numbers back to the newest checkpoint below the folder.

    Returns:
        The progress then, a fresh one if there is no checkpoint, and the best weights by then.
    """
    checkpoints = sorted(folder.glob("step-*"))
    if not checkpoints:
        return Progress(), None
    newest = checkpoints[-1]
    model.load_state_dict(load_file(newest / WEIGHTS), strict=True)
    state = torch.load(newest / STATE, weights_only=True)  # plain data only: no code runs from the file
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["rng"])
    if state["cuda_rng"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda_rng"])
    best = load_file(newest / BEST_WEIGHTS) if (newest / BEST_WEIGHTS).is_file() else None
    return Progress(**state["progress"]), best


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the model's weights on the CPU."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
