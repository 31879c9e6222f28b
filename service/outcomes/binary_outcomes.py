"""Counts of outcomes that either happen or not, such as a click on an impression."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BinaryOutcomes:
    """The outcomes of one model, each of which is a success or a failure.

    Attributes:
        impressions: How many recommendations were shown.
        successes: How many of them had the outcome, such as a click.

    Raises:
        ValueError: If there are fewer than 0 successes, or more than impressions.
    """

    impressions: int
    successes: int

    def __post_init__(self) -> None:
        if not 0 <= self.successes <= self.impressions:
            raise ValueError(
                f"expected 0 to {self.impressions} successes of {self.impressions} impressions, got {self.successes}: "
                "count an impression before its outcome, and at most one outcome of a kind"
            )
