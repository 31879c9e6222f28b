"""Gives the rows of embedding tables learning rates of their own.

Adam moves a weight by about the learning rate in a step, however large its gradient is. So a row that few steps learn
stays near its start, unless its rate is higher.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from rqrec.models.array_types import FloatArray


def set_row_rates(optimizer: torch.optim.Optimizer, model: nn.Module, rates: Mapping[str, FloatArray]) -> None:
    """Makes every step of an optimizer move each row by a multiple of what it would move it by.

    Args:
        optimizer: The optimizer of the model's parameters.
        model: The model, on the device on which it is trained.
        rates: The multiple for each row, by name of the parameter; float32, shape (rows,).
    """
    tables = [_Table(model.get_parameter(name), rates_N) for name, rates_N in rates.items()]

    def before(*_: Any) -> None:
        for table in tables:
            table.note()

    def after(*_: Any) -> None:
        for table in tables:
            table.move()

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)


class _Table:
    """The rows of a table that have another rate. Only they are copied in a step."""

    def __init__(self, table: nn.Parameter, rates_N: FloatArray) -> None:
        if len(rates_N) != len(table):
            raise ValueError(f"expected a rate for each of {len(table)} rows, got {len(rates_N)}")
        other = np.flatnonzero(rates_N != 1)
        self._table = table
        self._rows = torch.from_numpy(other).to(table.device)
        self._more = torch.from_numpy(rates_N[other, None] - 1).to(table.device)
        self._noted = table.detach()[self._rows]

    def note(self) -> None:
        self._noted = self._table.detach()[self._rows]

    @torch.no_grad()
    def move(self) -> None:
        moved = self._table[self._rows]
        self._table[self._rows] = moved + (moved - self._noted) * self._more
