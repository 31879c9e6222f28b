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


def take_rows(rows: Tensor, index: Tensor) -> Tensor:
    """Computes rows[index].

    Args:
        rows: Rows, of shape (N, D) or (N, H, d).
        index: Positions in [0, N), int32 or int64; of any shape, or of one axis if a row has two.

    Returns:
        Rows, of the index's shape and then the shape of a row.
    """
    return nn.functional.embedding(index, rows) if rows.dim() == 2 else rows.index_select(0, index)
