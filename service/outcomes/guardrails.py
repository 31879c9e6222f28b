"""Guardrails: what a canary may not make worse, however much users like its recommendations."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Health:
    """How a model has answered its requests since the trial began.

    Attributes:
        requests: How many requests it got.
        errors: How many of them it failed to answer.
        short_lists: How many of its answers had fewer items than were asked for.
        p99_s: The time within which 99 % of its answers were ready, in seconds.

    Raises:
        ValueError: If a count is below 0 or above the number of requests, or the time is negative or not finite.
    """

    requests: int
    errors: int
    short_lists: int
    p99_s: float

    def __post_init__(self) -> None:
        for name, count in (("errors", self.errors), ("short_lists", self.short_lists)):
            if not 0 <= count <= self.requests:
                raise ValueError(f"expected 0 to {self.requests} {name} of {self.requests} requests, got {count}")
        if not 0 <= self.p99_s < math.inf:
            raise ValueError(f"expected p99_s of 0 or more seconds, got {self.p99_s}")


@dataclass(frozen=True)
class Guardrails:
    """Limits on the health of a canary, compared with that of the active model.

    They compare estimates, not intervals, because a canary that does harm must go at once. The minimal number of
    requests keeps chance out. If both models have 1 % errors or 5 % short lists, the canary ever exceeds a limit with
    a probability below 1 %, at any number of requests.

    Attributes:
        min_requests: How many requests each model needs before they are compared, at least 1.
        max_more_errors: How much higher the canary's share of errors may be.
        max_more_short_lists: How much higher its share of short lists may be.
        max_p99_ratio: How many times as long its 99th percentile may be.

    Raises:
        ValueError: If a limit is negative, or `min_requests` is below 1.
    """

    min_requests: int = 2_000
    max_more_errors: float = 0.01
    max_more_short_lists: float = 0.02
    max_p99_ratio: float = 2.0

    def __post_init__(self) -> None:
        if self.min_requests < 1:
            raise ValueError(f"expected min_requests of 1 or more, got {self.min_requests}")
        for name in ("max_more_errors", "max_more_short_lists", "max_p99_ratio"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"expected {name} of 0 or more, got {getattr(self, name)}")

    def are_measured(self, canary: Health, active: Health) -> bool:
        """Returns whether both models had enough requests to be compared.

        Args:
            canary: The canary's health.
            active: The active model's health.
        """
        return min(canary.requests, active.requests) >= self.min_requests

    def broken(self, canary: Health, active: Health) -> list[str]:
        """Returns a sentence for every limit that the canary exceeds; none before both have enough requests.

        Args:
            canary: The canary's health.
            active: The active model's health.
        """
        if not self.are_measured(canary, active):
            return []
        shares = [
            ("errors", canary.errors, active.errors, self.max_more_errors),
            ("short lists", canary.short_lists, active.short_lists, self.max_more_short_lists),
        ]
        found = [
            f"the canary's share of {name} is {of_canary / canary.requests:.2%}, more than {limit:.2%} above the "
            f"active model's {of_active / active.requests:.2%}"
            for name, of_canary, of_active, limit in shares
            if of_canary / canary.requests > of_active / active.requests + limit
        ]
        if canary.p99_s > self.max_p99_ratio * active.p99_s:
            found.append(
                f"the canary's p99 is {1_000 * canary.p99_s:.1f} ms, more than {self.max_p99_ratio:g} times the active "
                f"model's {1_000 * active.p99_s:.1f} ms"
            )
        return found
