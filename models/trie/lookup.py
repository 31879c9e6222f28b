"""Lookups, in the forms that ONNX Runtime computes fast: `values[index]` as torch translates it is ten times slower."""

from torch import Tensor, nn


def take(values_N: Tensor, index: Tensor) -> Tensor:
    """values_N[index] for an index of one or two axes."""
    if index.dim() == 1:
        return values_N.gather(0, index)
    return values_N.gather(0, index.flatten()).view(index.shape)


def take_rows(rows_ND: Tensor, index: Tensor) -> Tensor:
    """rows_ND[index] for an index of any shape, copied row by row."""
    return nn.functional.embedding(index, rows_ND)
