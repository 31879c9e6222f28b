"""Chooses the codebooks of an RQ-VAE by the number of items to tell apart: codes per level, and levels."""

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
    """The codebooks of an RQ-VAE.

    Attributes:
        size: V, the number of codes per level.
        levels: L, the number of levels without the collision level.
    """

    size: int
    levels: int


def choose_codebooks(num_distinct: int, *, size: int | str, levels: int | str) -> Codebooks:
    """Chooses what the settings leave open, and logs the choice with its reason.

    A level has the least power of two of codes that leaves at most 3 items per code, within 16 to 256. Up to 16 items
    have a code each on a single level. Other catalogues have 3 levels, or as many as give 100 combinations of codes per
    item if the catalogue has more than 768 items.

    >>> choose_codebooks(1682, size="auto", levels="auto")
    Codebooks(size=256, levels=3)
    >>> choose_codebooks(300, size="auto", levels="auto")
    Codebooks(size=128, levels=3)
    >>> choose_codebooks(5, size="auto", levels="auto")
    Codebooks(size=5, levels=1)
    >>> choose_codebooks(10_000_000, size="auto", levels="auto")
    Codebooks(size=256, levels=4)

    Args:
        num_distinct: Number of items with different features, at least 1.
        size: Codes per level, above 1, or "auto".
        levels: Number of levels, at least 1, or "auto".
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
