"""The curves of a training: the values that it wrote for TensorBoard, kept in the folder of its stage.

TensorBoard's files stay in one folder for all trainings of a workspace, so that a later training with other settings
adds to them. The copy belongs to the result of the stage.

Shapes: S points of a curve.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

FILE = "curves.parquet"
MAX_POINTS = 1000  # of one curve; of a longer one, every second, third … point is kept
logger = logging.getLogger("rqrec")


@dataclass(frozen=True)
class Curve:
    """The values of one quantity during a training.

    Attributes:
        steps_S: Number of optimiser steps done, int64, ascending.
        values_S: The value after that step, float64.
    """

    steps_S: NDArray[np.int64]
    values_S: NDArray[np.float64]


def keep_curves(tensorboard: Path, directory: Path) -> None:
    """Copies the values of the last training from its TensorBoard files to `curves.parquet`.

    Curves are for people to look at. So files that cannot be read are reported, and raise nothing: the training has
    ended well. Without files, nothing is written.

    Args:
        tensorboard: The folder of the TensorBoard files of this training.
        directory: The folder of the stage's result.
    """
    if not tensorboard.is_dir():
        return
    try:
        # A training that starts, or resumes at a step, removes the values of later steps that are in the files.
        events = EventAccumulator(str(tensorboard), size_guidance={SCALARS: 0}).Reload()
        frames = [_frame(name, events) for name in events.Tags()[SCALARS]]
    except Exception:
        logger.warning("the curves of the training cannot be read from %s", tensorboard, exc_info=True)
        return
    if frames:
        pl.concat(frames).write_parquet(directory / FILE)


def _frame(name: str, events: EventAccumulator) -> pl.DataFrame:
    points = events.Scalars(name)
    kept = points[:: -(-len(points) // MAX_POINTS)]
    kept = kept if kept[-1] is points[-1] else [*kept, points[-1]]
    return pl.DataFrame(
        {"curve": [name] * len(kept), "step": [one.step for one in kept], "value": [one.value for one in kept]},
        schema={"curve": pl.String, "step": pl.Int64, "value": pl.Float64},
    )


def load_curves(directory: Path) -> Mapping[str, Curve]:
    """Reads the curves that `keep_curves` wrote, by name, such as "train/loss".

    Args:
        directory: The folder of the stage's result.

    Returns:
        The curves; empty if an older release trained the stage.
    """
    if not (directory / FILE).is_file():
        return {}
    table = pl.read_parquet(directory / FILE, glob=False)
    return {
        str(name): Curve(one["step"].to_numpy(), one["value"].to_numpy())
        for (name,), one in table.partition_by("curve", as_dict=True, maintain_order=True).items()
    }
