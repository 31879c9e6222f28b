"""Lookups that ONNX Runtime computes fast. PyTorch exports `values[index]` as a graph that is ten times slower."""

from torch import Tensor, nn


def take(values_N: Tensor, index: Tensor) -> Tensor:
    """Computes values_N[index].

    Args:
        values_N: A tensor of one axis.
        index: Indices in [0, N), int32 or int64, of one or two axes.

    Returns:
        The values at these indices, in the shape of `index`.
    """
    if index.dim() == 1:
        return values_N.gather(0, index)
    return values_N.gather(0, index.flatten()).view(index.shape)


def take_rows(rows: Tensor, index: Tensor) -> Tensor:
    """Computes rows[index].

    Args:
        rows: A tensor of shape (N, D) or (N, H, d).
        index: Row numbers in [0, N), int32 or int64. Any shape is allowed for `rows` of shape (N, D), else one axis.

    Returns:
        The rows with these numbers: a tensor with the axes of `index`, then the axes of a row.
    """
    return nn.functional.embedding(index, rows) if rows.dim() == 2 else rows.index_select(0, index)
