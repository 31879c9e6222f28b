"""Counts of one trial: impressions, clicks and conversions of each model, by surface and by bucket of users."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from rqrec.service.outcomes.binary_outcomes import BinaryOutcomes
from rqrec.service.outcomes.design_effect import design_effect

MAX_SURFACES = 32
NO_SURFACE, OTHER_SURFACE = "none", "other"
NUM_BUCKETS = 128  # never changes while a trial runs: users would change their buckets


def bucket_of(key: str) -> int:
    """Returns the bucket of a user, or of another text that decides which model answers, from 0 to NUM_BUCKETS - 1."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) % NUM_BUCKETS


class OutcomeKind(StrEnum):
    """What can come of an impression. Each impression counts at most once for each kind."""

    CLICKS = "clicks"
    CONVERSIONS = "conversions"


class Arm(NamedTuple):
    """One of the models that a trial compares.

    Attributes:
        version: Version of the model.
        role: Its role, such as "active" or "canary".
    """

    version: str
    role: str


@dataclass(frozen=True)
class Outcomes:
    """What came of some impressions. An impression counts once for each outcome, however often it has it.

    Attributes:
        impressions: How many recommendations were shown.
        clicks: How many of them were clicked.
        conversions: How many of them led to a conversion, such as a purchase.

    Raises:
        ValueError: If there are more clicks or conversions than impressions.
    """

    impressions: int = 0
    clicks: int = 0
    conversions: int = 0

    def __post_init__(self) -> None:
        for successes in (self.clicks, self.conversions):
            BinaryOutcomes(self.impressions, successes)

    def __add__(self, other: "Outcomes") -> "Outcomes":
        return Outcomes(
            self.impressions + other.impressions, self.clicks + other.clicks, self.conversions + other.conversions
        )

    def of(self, kind: OutcomeKind) -> BinaryOutcomes:
        """Returns the impressions, and those that had an outcome of one kind."""
        return BinaryOutcomes(self.impressions, self.clicks if kind is OutcomeKind.CLICKS else self.conversions)


NOTHING = Outcomes()


class Cell(NamedTuple):
    """A part of the impressions of a trial, which has counts of its own.

    Attributes:
        arm: The model that made the lists.
        part: A text: the surface where they were shown. A number: the bucket of their users.
    """

    arm: Arm
    part: str | int


@dataclass(frozen=True)
class OutcomeCounts:
    """What came of the impressions of one trial. Every impression is in a cell of its surface and in one of its bucket.

    A trial begins when the roles of the models change, so both models are counted from the same time on. Earlier counts
    of the active model would be of other times and other users.

    A surface is a place where lists are shown, such as the home page. At most MAX_SURFACES of them have counts of their
    own, the same for all models; the others share OTHER_SURFACE.

    A bucket is one of NUM_BUCKETS random groups of users. The differences between buckets tell how much impressions of
    one user resemble each other, and no user has counts.

    Attributes:
        cells: The counts of each cell; cells without impressions may be missing.
    """

    cells: Mapping[Cell, Outcomes]

    @classmethod
    def merged(cls, parts: Iterable[tuple[Cell, Outcomes]]) -> "OutcomeCounts":
        """Adds up the counts of cells that were counted at several places.

        Args:
            parts: The counts. Of the surfaces, those with the most impressions keep counts of their own.
        """
        cells: dict[Cell, Outcomes] = {}
        for cell, outcomes in parts:
            cells[cell] = cells.get(cell, NOTHING) + outcomes
        shown: dict[str, int] = {}
        for (_, part), outcomes in cells.items():
            if isinstance(part, str) and part != OTHER_SURFACE:
                shown[part] = shown.get(part, 0) + outcomes.impressions
        for surface in sorted(shown, key=lambda name: (-shown[name], name))[MAX_SURFACES:]:
            for cell in [one for one in cells if one.part == surface]:
                other = Cell(cell.arm, OTHER_SURFACE)
                cells[other] = cells.get(other, NOTHING) + cells.pop(cell)
        return cls(cells)

    def by_surface(self, arm: Arm) -> dict[str, Outcomes]:
        """Returns the outcomes of one model of the trial, by surface in the order of their names."""
        found = {one.part: outcomes for one, outcomes in self.cells.items() if one.arm == arm}
        return {part: found[part] for part in sorted(part for part in found if isinstance(part, str))}

    def total(self, arm: Arm) -> Outcomes:
        """Returns the outcomes of one model of the trial on all surfaces."""
        return sum(self.by_surface(arm).values(), NOTHING)

    def design_effect(self, arm: Arm, kind: OutcomeKind) -> float:
        """Returns the design effect of one model's impressions, from the differences between its buckets.

        Args:
            arm: The model.
            kind: The outcome.

        Returns:
            The design effect, at least 1; 1 as long as the impressions tell nothing, when no interval does either.
        """
        buckets = [
            outcomes.of(kind)
            for cell, outcomes in self.cells.items()
            if cell.arm == arm and isinstance(cell.part, int) and outcomes.impressions
        ]
        impressions = np.array([one.impressions for one in buckets], np.int64)
        successes = np.array([one.successes for one in buckets], np.int64)
        if len(buckets) < 2 or not 0 < successes.sum() < impressions.sum():
            return 1.0
        return design_effect(impressions, successes)
