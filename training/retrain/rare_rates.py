"""Lets the rows of rare items learn faster: of those that the bundle has learnt from few interactions, or from none.

A retraining takes few steps at a small rate, so that the networks forget little. Adam moves a weight by about the rate
in a step, however large its gradient is. So the row of a new item would hardly leave its start, the mean of its
neighbours.

Shapes: N items, P prefixes.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from rqrec.models.array_types import FloatArray
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.retrain.grown_model import OWN, PREFIXES, prefixes_of

ITEMS = "items.weight"  # of the short-term encoder
COMMON = 60  # a row that was learnt from as many interactions moves at the plain rate


def item_rates(bundle: Bundle, num_items: int, *, most: float) -> FloatArray:
    """Returns the multiple of the learning rate for the row of each item, float32, shape (N,).

    It falls with the square root of the number of learnt interactions, from `most` to 1.

    Args:
        bundle: The bundle from which the retraining goes on. Its items are the first ones.
        num_items: N, the number of all items.
        most: The largest multiple, at least 1.
    """
    learnt_N = np.zeros(num_items, dtype=np.int64)
    learnt_N[: len(bundle.learned.popularity_R)] = bundle.learned.popularity_R
    return _rates(learnt_N, most)


def retriever_rates(bundle: Bundle, trie: SemanticIdTrie, *, most: float) -> dict[str, FloatArray]:
    """Returns the multiples for the rows of the retriever's tables, by name of the parameter.

    Args:
        bundle: The bundle from which the retraining goes on. Its items are the first rows of the catalogue.
        trie: The trie of all items.
        most: The largest multiple, at least 1.
    """
    rates = {}
    if bundle.manifest.retriever_config.num_items:
        rates[OWN] = item_rates(bundle, trie.num_leaves, most=most)
    if bundle.manifest.retriever_config.num_prefixes:
        keys, prefix_N = prefixes_of(trie)
        popularity_R = bundle.learned.popularity_R
        learnt_P = np.bincount(prefix_N[: len(popularity_R)], weights=popularity_R, minlength=len(keys))
        rates[PREFIXES] = _rates(learnt_P, most)
    return rates


def _rates(learnt: NDArray[Any], most: float) -> FloatArray:
    return np.sqrt(COMMON / (1 + learnt)).clip(1, most).astype(np.float32)


@contextmanager
def at_rates(model: nn.Module, rates: Mapping[str, FloatArray]) -> Iterator[None]:
    """Inside the block, each step of an optimizer moves rows of a model by a multiple of what it would move them by.

    Args:
        model: The model, on the device on which it is trained.
        rates: The multiple for each row, by name of the parameter; float32, shape (rows,).
    """
    tables = [_Table(model.get_parameter(name), rates_N) for name, rates_N in rates.items()]

    def before(*_: object) -> None:
        for table in tables:
            table.note()

    def after(*_: object) -> None:
        for table in tables:
            table.move()

    hooks = register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Table:
    """The rows of a table that have another rate. Only they are copied in a step."""

    def __init__(self, table: nn.Parameter, rates_N: FloatArray) -> None:
        if len(rates_N) != len(table):
            raise ValueError(f"expected a rate for each of {len(table)} rows, got {len(rates_N)}")
        other = np.flatnonzero(rates_N != 1)
        self._table = table
        self._rows = torch.from_numpy(other).to(table.device)
        self._more = torch.from_numpy(rates_N[other, None] - 1).to(table.device)
        self.note()

    def note(self) -> None:
        self._noted = self._table.detach()[self._rows]

    @torch.no_grad()
    def move(self) -> None:
        moved = self._table[self._rows]
        self._table[self._rows] = moved + (moved - self._noted) * self._more
