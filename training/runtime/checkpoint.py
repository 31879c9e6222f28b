"""Writes and reads checkpoints of an unfinished training: weights, optimiser state, random numbers and progress."""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rqrec.models.files import new_directory

WEIGHTS, BEST_WEIGHTS, STATE = "weights.safetensors", "best.safetensors", "state.pt"
CHECKSUMS = "checksums.json"
KEPT = 2
logger = logging.getLogger("rqrec")


@dataclass
class Progress:
    """How far a training has come.

    Attributes:
        step: Number of optimiser steps done.
        epoch: Number of epochs done.
        batch: Number of batches done in the current epoch.
        best_score: The best validation score so far; higher is better.
        best_epoch: The value of `epoch` when the best score was measured; -1 before the first validation.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    best_score: float = -torch.inf
    best_epoch: int = -1


@dataclass(frozen=True)
class _Saved:
    """The content of a checkpoint."""

    progress: Progress
    weights: Mapping[str, Tensor]
    best_weights: dict[str, Tensor] | None
    state: Mapping[str, Any]


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    best_weights: dict[str, Tensor] | None,
) -> Path:
    """Writes a checkpoint atomically. Only this checkpoint and the one before it are kept; others are removed.

    Args:
        folder: The folder of this training's checkpoints.
        model: The model to save.
        optimizer: The optimiser of the model's parameters.
        progress: How far the training has come.
        best_weights: The weights with the best validation score; None before the first validation.

    Returns:
        The checkpoint's folder.
    """
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
        with (directory / STATE).open("wb") as file:  # a file of Python keeps the error of a full disk
            torch.save(state, file)
        checksums = {file.name: _sha256(file) for file in directory.iterdir()}
        (directory / CHECKSUMS).write_text(json.dumps(checksums), encoding="utf-8")
    # A checkpoint of a later step is damaged: otherwise the training would have resumed from it.
    kept = [one for one in _checkpoints(folder) if one.name <= target.name][-KEPT:]
    for old in _checkpoints(folder):
        if old not in kept:
            shutil.rmtree(old)
    return target


def restore_latest_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Progress, dict[str, Tensor] | None]:
    """Restores model, optimiser and random numbers from the newest valid checkpoint.

    A checkpoint is skipped with a warning if a file is missing or altered, or if it belongs to another model.

    Args:
        folder: The folder of this training's checkpoints.
        model: The model to restore in place.
        optimizer: The optimiser to restore in place.

    Returns:
        The progress of the training, and the weights with the best validation score; None before the first validation.
        Without a valid checkpoint: the progress of a new training, and None.
    """
    checkpoints = _checkpoints(folder)
    for checkpoint in reversed(checkpoints):
        try:
            saved = _read(checkpoint, model, optimizer)
        except Exception as error:  # a damaged file can raise any exception
            logger.warning("checkpoint %s cannot be used (%s): trying the one before it", checkpoint, error)
            continue
        model.load_state_dict(saved.weights)
        optimizer.load_state_dict(dict(saved.state["optimizer"]))
        torch.set_rng_state(saved.state["rng"])
        if saved.state["cuda_rng"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(saved.state["cuda_rng"])
        logger.info("resuming from step %d, checkpoint %s", saved.progress.step, checkpoint)
        return saved.progress, saved.best_weights
    if checkpoints:
        logger.warning("no checkpoint in %s can be used: training starts over", folder)
    return Progress(), None


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """Returns a copy of the model's weights on the CPU, by name as in `state_dict`."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}


def _checkpoints(folder: Path) -> list[Path]:
    """Returns the checkpoints' folders, oldest first."""
    return sorted(folder.glob("step-*"))


def _read(checkpoint: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> _Saved:
    """Reads a checkpoint and checks all of it, so that restoring cannot fail halfway.

    Raises:
        ValueError: If a file is missing or altered, or belongs to another model.
    """
    checksums = json.loads((checkpoint / CHECKSUMS).read_text(encoding="utf-8"))
    for name, checksum in checksums.items():
        if _sha256(checkpoint / name) != checksum:
            raise ValueError(f"{name} does not match its checksum")
    best = load_file(checkpoint / BEST_WEIGHTS) if BEST_WEIGHTS in checksums else None
    weights = load_file(checkpoint / WEIGHTS)
    # weights_only: no code in the file is run.
    state = torch.load(checkpoint / STATE, map_location="cpu", weights_only=True)
    for name, found in ((WEIGHTS, weights), (BEST_WEIGHTS, best)):
        if found is not None and _shapes(found) != _shapes(model.state_dict()):
            raise ValueError(f"{name} belongs to a model of other shapes")
    _check_optimizer(state["optimizer"], optimizer)
    torch.Generator().set_state(state["rng"])
    return _Saved(Progress(**state["progress"]), weights, best, state)


def _check_optimizer(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    if len(numbers) != len(parameters) or not set(state["state"]) <= set(numbers):
        raise ValueError(f"{STATE} belongs to the optimiser of another model")
    for number, parameter in zip(numbers, parameters, strict=True):
        for value in state["state"].get(number, {}).values():
            if torch.is_tensor(value) and value.dim() and value.shape != parameter.shape:
                raise ValueError(f"{STATE} belongs to an optimiser of other shapes")


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
