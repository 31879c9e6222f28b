"""Counts of one trial: impressions, clicks and conversions of each model, by surface."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from rqrec.service.outcomes.binary_outcomes import BinaryOutcomes

MAX_SURFACES = 32
NO_SURFACE, OTHER_SURFACE = "none", "other"


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
    """What came of the impressions of one model. An impression counts once for each outcome, however often it has it.

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

    @property
    def clicked(self) -> BinaryOutcomes:
        """The impressions, and those that were clicked."""
        return BinaryOutcomes(self.impressions, self.clicks)

    @property
    def converted(self) -> BinaryOutcomes:
        """The impressions, and those that led to a conversion."""
        return BinaryOutcomes(self.impressions, self.conversions)

    def plus(self, *, impressions: int = 0, clicks: int = 0, conversions: int = 0) -> "Outcomes":
        """Returns the outcomes with some more.

        Args:
            impressions: How many more recommendations were shown.
            clicks: How many more of all of them were clicked.
            conversions: How many more of all of them led to a conversion.

        Raises:
            ValueError: If there would be more clicks or conversions than impressions.
        """
        return Outcomes(self.impressions + impressions, self.clicks + clicks, self.conversions + conversions)


class OutcomeCounts:
    """Counts what came of the impressions of one trial, by model and surface.

    A trial begins when a canary starts or its share changes, and both models are counted from then on. Earlier counts
    of the active model are of other times and other users. So what was shown before, or by another model, is left out.

    The caller counts an impression before its outcomes, and every outcome of an impression once.

    A surface is a place where lists are shown, such as the home page. At most MAX_SURFACES of them have counts of their
    own, the same for all models; later ones share OTHER_SURFACE.

    Args:
        arms: The models that the trial compares.
        since: When the trial began, in seconds since 1970.
    """

    def __init__(self, arms: Iterable[Arm], since: float) -> None:
        self._by_arm: dict[Arm, dict[str, Outcomes]] = {arm: {} for arm in arms}
        self._surfaces: set[str] = set()
        self._since = since

    def add_impression(self, arm: Arm, surface: str | None, shown_at: float) -> None:
        """Counts a recommendation that was shown.

        Args:
            arm: The model that made it.
            surface: Where it was shown; None if this is not known.
            shown_at: When it was shown, in seconds since 1970.
        """
        self._add(arm, surface, shown_at, impressions=1)

    def add_click(self, arm: Arm, surface: str | None, shown_at: float) -> None:
        """Counts the first click on a recommendation.

        Args:
            arm: The model that made the recommendation.
            surface: Where it was shown; None if this is not known.
            shown_at: When it was shown, not when it was clicked, in seconds since 1970.

        Raises:
            ValueError: If there are more clicks than impressions.
        """
        self._add(arm, surface, shown_at, clicks=1)

    def add_conversion(self, arm: Arm, surface: str | None, shown_at: float) -> None:
        """Counts the first conversion after a recommendation.

        Args:
            arm: The model that made the recommendation.
            surface: Where it was shown; None if this is not known.
            shown_at: When it was shown, not when it led to the conversion, in seconds since 1970.

        Raises:
            ValueError: If there are more conversions than impressions.
        """
        self._add(arm, surface, shown_at, conversions=1)

    def by_surface(self, arm: Arm) -> dict[str, Outcomes]:
        """Returns the outcomes of one model of the trial, by surface."""
        return dict(self._by_arm[arm])

    def total(self, arm: Arm) -> Outcomes:
        """Returns the outcomes of one model of the trial on all surfaces."""
        counts = self._by_arm[arm].values()
        return Outcomes(
            impressions=sum(one.impressions for one in counts),
            clicks=sum(one.clicks for one in counts),
            conversions=sum(one.conversions for one in counts),
        )

    def _add(
        self,
        arm: Arm,
        surface: str | None,
        shown_at: float,
        *,
        impressions: int = 0,
        clicks: int = 0,
        conversions: int = 0,
    ) -> None:
        counts = self._by_arm.get(arm)
        if counts is None or shown_at < self._since:
            return
        label = self._label(surface)
        counts[label] = counts.get(label, Outcomes()).plus(
            impressions=impressions, clicks=clicks, conversions=conversions
        )

    def _label(self, surface: str | None) -> str:
        if surface is None:
            return NO_SURFACE
        if surface not in self._surfaces and len(self._surfaces) >= MAX_SURFACES:
            return OTHER_SURFACE
        self._surfaces.add(surface)
        return surface
