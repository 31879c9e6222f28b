"""Makes the semantic IDs of items unique, and converts semantic IDs to text and back.

Shapes: N items, L levels, V codes per level.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from rqrec.models.trie.trie import pack_codes

SEPARATOR = "-"


def append_collision_codes(codes_NL: NDArray[np.integer], *, codebook_size: int) -> NDArray[np.int64]:
    """Appends a code to each item that makes its semantic ID unique (Rajput et al. 2023, arXiv 2305.05065, §3.1).

    Items with equal codes are numbered 0, 1, 2 … in row order. An item with unique codes gets 0.

    >>> append_collision_codes(np.array([[1, 2], [0, 3], [1, 2]]), codebook_size=4).tolist()
    [[1, 2, 0], [0, 3, 0], [1, 2, 1]]

    Args:
        codes_NL: L quantised codes of each of N items, integers in [0, codebook_size).
        codebook_size: V, the number of codes per level. Collision codes are in [0, codebook_size) too.

    Returns:
        Unique codes, int64 of shape (N, L + 1).

    Raises:
        ValueError: If more than V items have equal codes, so that V collision codes are not enough.
    """
    keys = pack_codes(codes_NL, codebook_size)
    order = np.argsort(keys, kind="stable")
    sorted_keys = keys[order]
    group_start = np.maximum.accumulate(np.where(np.diff(sorted_keys, prepend=-1) != 0, np.arange(len(keys)), 0))
    collision_codes = np.empty(len(keys), dtype=np.int64)
    collision_codes[order] = np.arange(len(keys)) - group_start
    largest = int(collision_codes.max(initial=0)) + 1
    if largest > codebook_size:
        raise ValueError(
            f"{largest} items share one semantic ID but the collision level holds {codebook_size} codes: the IDs have "
            "collapsed; give the items more distinct features, or raise codebook_size or num_levels"
        )
    return np.concatenate([codes_NL.astype(np.int64), collision_codes[:, None]], axis=1)


def free_collision_code(taken: int) -> int:
    """Returns the collision code of an item that is added to items with equal codes: the smallest free number.

    >>> free_collision_code(0b1011)
    2

    Args:
        taken: The collision codes of these items, as bits: bit n is set if the code n is taken.
    """
    return (~taken & (taken + 1)).bit_length() - 1


def collision_ratio(codes_NL: NDArray[np.integer], *, codebook_size: int) -> float:
    """Computes the share of items whose codes another item has too.

    >>> collision_ratio(np.array([[1, 2], [0, 3], [1, 2], [0, 0]]), codebook_size=4)
    0.5

    Args:
        codes_NL: L quantised codes of each of N items, integers in [0, codebook_size).
        codebook_size: V, the number of codes per level.

    Returns:
        A share in [0, 1].
    """
    _, inverse, counts = np.unique(pack_codes(codes_NL, codebook_size), return_inverse=True, return_counts=True)
    return float((counts[inverse] > 1).mean())


def format_semantic_id(codes: Iterable[int]) -> str:
    """Returns the text form of a semantic ID: its codes joined by hyphens, such as ``12-7-99-0``."""
    return SEPARATOR.join(str(code) for code in codes)


def parse_semantic_id(text: str) -> list[int]:
    """Parses the text form of a semantic ID, or of the first codes of a semantic ID.

    Args:
        text: Codes joined by hyphens, such as "12-7-99-0".

    Returns:
        The codes, such as [12, 7, 99, 0].

    Raises:
        ValueError: If the text is not whole numbers joined by hyphens.
    """
    parts = text.split(SEPARATOR)
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"a semantic ID is whole numbers joined by {SEPARATOR!r} such as 12-7-99-0, got {text!r}")
    return [int(part) for part in parts]
