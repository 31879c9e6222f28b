"""Lookups that ONNX Runtime computes fast. Torch translates `values[index]` to a graph that is ten times slower."""

from torch import Tensor, nn


def take(values_N: Tensor, index: Tensor) -> Tensor:
    """Computes values_N[index].

    Args:
        values_N: Values.
        index: Positions in [0, N), int32 or int64, of one or two axes.

    Returns:
        Values of the index's shape.
    """
    if index.dim() == 1:
        return values_N.gather(0, index)
    return values_N.gather(0, index.flatten()).view(index.shape)


def take_rows(rows_ND: Tensor, index: Tensor) -> Tensor:
    """Computes rows_ND[index].

    Args:
        rows_ND: Rows.
        index: Positions in [0, N), int32 or int64, of any shape.

    Returns:
        Rows, of the index's shape and one more axis, D.
    """
    return nn.functional.embedding(index, rows_ND)
