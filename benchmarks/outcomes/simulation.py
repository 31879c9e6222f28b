"""Simulated canaries: impressions and their outcomes, and when a confidence sequence finds a difference."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rqrec.models.array_types import IntArray
from rqrec.service.outcomes.confidence_sequence import Bounds

EVENTS_AT_ONCE = 2_000_000  # bounds the memory to a few hundred MB
DifferenceBounds = Callable[[IntArray, IntArray, IntArray, IntArray], Bounds]


@dataclass(frozen=True)
class Scenario:
    """A canary beside an active model.

    Attributes:
        share: Share of the impressions, or of the users, that the canary gets, in (0, 1).
        rate: The active model's rate.
        lift: How much higher the canary's rate is, as a share of the active model's rate.
        impressions: Number of impressions of both models.
        users: Number of users who make the impressions; each user has one model and, after `concentration`, a rate of
            their own. None: every impression is independent of all others.
        concentration: The sum of both parameters of the beta distribution of the users' rates. One divided by one plus
            it is the correlation of two impressions of a user.
    """

    share: float
    rate: float
    lift: float = 0.0
    impressions: int = 40_000
    users: int | None = None
    concentration: float = 19.0

    def __str__(self) -> str:
        people = "" if self.users is None else f", {self.users} users"
        return f"rate {self.rate:g}, canary {self.share:.0%}, lift {self.lift:+.0%}{people}"


class Found(NamedTuple):
    """After how many impressions of both models a difference was found, for each run; infinity where it was not.

    Attributes:
        better: When the lower bound was above 0 for the first time. Shape (runs,).
        worse: When the upper bound was below 0 for the first time. Shape (runs,).
    """

    better: NDArray[np.float64]
    worse: NDArray[np.float64]


def simulate(scenario: Scenario, bounds: DifferenceBounds, *, runs: int, seed: int = 0) -> Found:
    """Runs a scenario many times, and looks at the interval after every impression.

    Args:
        scenario: The models and their impressions.
        bounds: The intervals to look at, such as `ConfidenceSequence.difference_bounds`.
        runs: How many times to run it, at least 1.
        seed: Seed of the random numbers.
    """
    rng = np.random.default_rng(seed)
    chunk = max(1, EVENTS_AT_ONCE // scenario.impressions)
    parts = []
    for first in range(0, runs, chunk):
        counts = _counts(scenario, rng, min(chunk, runs - first))
        lower, upper = bounds(*counts)
        parts.append((_first(lower > 0), _first(upper < 0)))
    better, worse = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Found(better, worse)


def _counts(scenario: Scenario, rng: np.random.Generator, runs: int) -> Iterator[NDArray[np.int64]]:
    """The counts that `difference_bounds` takes, after every impression. Shape (runs, impressions) each."""
    is_canary, is_success = _draw(scenario, rng, (runs, scenario.impressions))
    for of_model in (is_canary, ~is_canary):
        yield np.cumsum(of_model, axis=1, dtype=np.int64)
        yield np.cumsum(of_model & is_success, axis=1, dtype=np.int64)


def _draw(
    scenario: Scenario, rng: np.random.Generator, shape: tuple[int, int]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each impression is of the canary, and whether it has the outcome."""
    if scenario.users is None:
        is_canary = rng.random(shape, dtype=np.float32) < scenario.share
        rate = np.full((), scenario.rate)
    else:
        users = rng.integers(scenario.users, size=shape)
        is_canary = np.take_along_axis(rng.random((shape[0], scenario.users)) < scenario.share, users, axis=1)
        successes = scenario.rate * scenario.concentration
        rates = rng.beta(successes, scenario.concentration - successes, (shape[0], scenario.users))
        rate = np.take_along_axis(rates, users, axis=1)
    return is_canary, rng.random(shape, dtype=np.float32) < rate * (1 + scenario.lift * is_canary)


def _first(is_found: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The number of the first impression at which each run's value is true; infinity if there is none."""
    return np.where(is_found.any(axis=1), is_found.argmax(axis=1) + 1, np.inf)
