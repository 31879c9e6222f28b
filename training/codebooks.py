"""Chooses the number and the size of an RQ-VAE's codebooks from the number of different feature vectors of items."""

import logging
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

from rqrec.training.runtime.distributed import rank

AUTO = "auto"
FEWEST_CODES, MOST_CODES = 16, 256
ITEMS_PER_CODE = 3  # of each level: three levels then tell apart items that form no clusters
LEVELS = 3
IDS_PER_ITEM = 100  # codes are used unevenly, so that most combinations stay unused
logger = logging.getLogger("rqrec")


def _count_or_auto(least: int) -> AfterValidator:
    """Makes a check that a setting is "auto" or a number of at least `least`."""

    def check(value: int | str) -> int | str:
        if value != AUTO and (isinstance(value, str) or value < least):
            raise ValueError(f"must be {AUTO!r} or a whole number of at least {least}")
        return value

    return AfterValidator(check)


CodebookSize = Annotated[int | str, _count_or_auto(2)]
NumLevels = Annotated[int | str, _count_or_auto(1)]


class Codebooks(NamedTuple):
    """The number and the size of an RQ-VAE's codebooks. Each level has one codebook.

    Attributes:
        size: V, the number of codes per level.
        levels: L, the number of levels. The collision level, which makes semantic IDs unique, is not counted.
    """

    size: int
    levels: int


def choose_codebooks(num_distinct: int, *, size: int | str, levels: int | str) -> Codebooks:
    """Chooses the number of codes per level and the number of levels, if they are "auto", and logs the choice.

    Items with equal features count as one item here. Up to 16 items get one level, with one code for each item, but at
    least 2 codes. More items get 3 levels. Then the number of codes per level is the smallest power of two with at most
    3 items per code, but at least 16 and at most 256. With more than 768 items, levels are added until there are at
    least 100 combinations of codes per item.

    >>> choose_codebooks(1682, size="auto", levels="auto")
    Codebooks(size=256, levels=3)
    >>> choose_codebooks(300, size="auto", levels="auto")
    Codebooks(size=128, levels=3)
    >>> choose_codebooks(5, size="auto", levels="auto")
    Codebooks(size=5, levels=1)
    >>> choose_codebooks(10_000_000, size="auto", levels="auto")
    Codebooks(size=256, levels=4)

    Args:
        num_distinct: Number of different feature vectors, at least 1; items with equal features count once.
        size: Number of codes per level, above 1, or "auto" to choose it.
        levels: Number of levels, at least 1, or "auto" to choose it.

    Returns:
        Both numbers. An argument that is not "auto" is returned unchanged.
    """
    chosen_size = size if isinstance(size, int) else _size(num_distinct)
    chosen = Codebooks(chosen_size, levels if isinstance(levels, int) else _levels(num_distinct, chosen_size))
    if AUTO in (size, levels) and rank() == 0:
        logger.info(
            "semantic IDs of %d levels with %d codes each, for %d items with different features (RqVaeSettings."
            "codebook_size = %r, num_levels = %r)",
            chosen.levels,
            chosen.size,
            num_distinct,
            size,
            levels,
        )
    return chosen


def _size(num_distinct: int) -> int:
    if num_distinct <= FEWEST_CODES:
        return max(num_distinct, 2)
    power_of_two = 1 << (-(-num_distinct // ITEMS_PER_CODE) - 1).bit_length()
    return min(max(power_of_two, FEWEST_CODES), MOST_CODES)


def _levels(num_distinct: int, size: int) -> int:
    if num_distinct <= FEWEST_CODES:
        return 1
    levels = LEVELS
    while num_distinct > ITEMS_PER_CODE * MOST_CODES and size**levels < IDS_PER_ITEM * num_distinct:
        levels += 1
    return levels
