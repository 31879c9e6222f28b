"""Measures how often the outcome test is wrong, and how soon it is right, where users return.

    python -m benchmarks.outcomes.returning_users

The design effect is not given: it is estimated from the counts of 128 buckets at every look, as the service does. Every
run is one simulated canary, whose interval is looked at after every 100 impressions. The result is one line of JSON
with figures for each scenario. Progress is written to standard error.

- `false_alarms`: share of the runs in which two equal models were found to differ, until so many impressions of both.
- `lift_found`: share of the runs in which a canary that is 10 % better was found to be better.
- `loss_found`: share of the runs in which a canary that is 10 % worse was found to be worse.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from benchmarks.outcomes.simulation import Found
from rqrec.models.array_types import IntArray
from rqrec.service.outcomes.confidence_sequence import ConfidenceSequence
from rqrec.service.outcomes.design_effect import design_effects
from rqrec.service.outcomes.outcome_counts import NUM_BUCKETS

MEAN_IMPRESSIONS, MOST_IMPRESSIONS = 20, 2_000  # of a user
TAIL = 1.5  # exponent of the Pareto distribution of the impressions of a user; its variance is infinite
CORRELATIONS, MODELS, LIFT = (0.0, 0.05, 0.2), ((0.1, 0.5), (0.1, 0.1), (0.3, 0.5)), 0.1
SHOWN_AT = (1_000, 5_000, 20_000, 50_000)  # impressions of both models
Figures = dict[str, float]
Estimate = Callable[[IntArray, IntArray], NDArray[np.float64]]


@dataclass(frozen=True)
class ReturningUsers:
    """A canary beside an active model, and users who see many lists of one of them.

    Attributes:
        correlation: Correlation of two impressions of a user, in [0, 1). Users' rates have a beta distribution.
        is_heavy_tailed: Whether few users have most impressions; else every user has MEAN_IMPRESSIONS.
        in_sessions: Whether a user has all impressions one after the other; else they are spread over the trial.
        share: Share of the users that the canary gets, in (0, 1).
        rate: The active model's mean rate.
        lift: How much higher the canary's rate is, as a share of the active model's rate.
        impressions: Number of impressions of both models.
    """

    correlation: float
    is_heavy_tailed: bool
    in_sessions: bool
    share: float = 0.5
    rate: float = 0.1
    lift: float = 0.0
    impressions: int = 50_000

    def __str__(self) -> str:
        counts = "heavy-tailed" if self.is_heavy_tailed else f"{MEAN_IMPRESSIONS} a user"
        order = "sessions" if self.in_sessions else "spread"
        model = f"rate {self.rate:g}, canary {self.share:.0%}, lift {self.lift:+.0%}"
        return f"{model}, correlation {self.correlation:g}, {counts}, {order}"


def simulate_returning(
    scenario: ReturningUsers, *, runs: int, step: int = 100, seed: int = 0, estimate: Estimate = design_effects
) -> Found:
    """Runs a scenario many times, and judges it as the service does: with the larger design effect of both models.

    Args:
        scenario: The models and their users.
        runs: How many times to run it, at least 1.
        step: How many impressions lie between two looks at the interval; a divisor of the scenario's impressions.
        seed: Seed of the random numbers.
        estimate: Estimates the design effects from the impressions and the successes, each of shape (looks, models,
            buckets).
    """
    rng, sequence = np.random.default_rng(seed), ConfidenceSequence()
    better, worse = np.full(runs, np.inf), np.full(runs, np.inf)
    for run in range(runs):
        shown_TMB, successes_TMB = _counts(scenario, rng, step)
        effects_T = estimate(shown_TMB, successes_TMB).max(axis=1)
        (active_n, canary_n), (active_s, canary_s) = shown_TMB.sum(axis=2).T, successes_TMB.sum(axis=2).T
        lower_T, upper_T = sequence.difference_bounds(canary_n, canary_s, active_n, active_s, design_effects=effects_T)
        for found, is_found_T in ((better, lower_T > 0), (worse, upper_T < 0)):
            if is_found_T.any():
                found[run] = (is_found_T.argmax() + 1) * step
    return Found(better, worse)


def _counts(scenario: ReturningUsers, rng: np.random.Generator, step: int) -> tuple[IntArray, IntArray]:
    """Impressions and successes of each model (active, canary) and bucket at each look. Shape (looks, 2, buckets)."""
    user_I = _users(scenario, rng)
    num_users = int(user_I.max()) + 1
    is_canary_U = rng.random(num_users) < scenario.share
    rate_U = _rates(scenario, rng, num_users) * (1 + scenario.lift * is_canary_U)
    cell_U = is_canary_U * NUM_BUCKETS + rng.integers(NUM_BUCKETS, size=num_users)
    is_success_I = rng.random(scenario.impressions) < rate_U[user_I]
    looks, cells = scenario.impressions // step, 2 * NUM_BUCKETS
    place_I = np.arange(scenario.impressions) // step * cells + cell_U[user_I]
    counts = (np.bincount(place, minlength=looks * cells) for place in (place_I, place_I[is_success_I]))
    shown, successes = (one.reshape(looks, 2, NUM_BUCKETS).cumsum(axis=0) for one in counts)
    return shown, successes


def _users(scenario: ReturningUsers, rng: np.random.Generator) -> IntArray:
    """The user of each impression. A user whose impressions are cut off at the end of the trial has fewer."""
    num_users = scenario.impressions  # enough, because every user has an impression
    counts_U = np.full(num_users, MEAN_IMPRESSIONS)
    if scenario.is_heavy_tailed:
        scale = MEAN_IMPRESSIONS * (TAIL - 1)  # of a Pareto distribution that begins at 0 and has this mean
        counts_U = np.ceil(np.clip(scale * rng.pareto(TAIL, num_users), 1, MOST_IMPRESSIONS)).astype(np.int64)
    last = int(np.searchsorted(counts_U.cumsum(), scenario.impressions)) + 1
    user_I = np.repeat(np.arange(last), counts_U[:last])[: scenario.impressions]
    return user_I if scenario.in_sessions else rng.permutation(user_I)


def _rates(scenario: ReturningUsers, rng: np.random.Generator, num_users: int) -> NDArray[np.float64]:
    if scenario.correlation == 0:
        return np.full(num_users, scenario.rate)
    both = 1 / scenario.correlation - 1  # the sum of both parameters
    return rng.beta(scenario.rate * both, (1 - scenario.rate) * both, num_users)


def equal_models() -> Iterator[ReturningUsers]:
    """Returns the scenarios of a canary that is as good as the active model."""
    for in_sessions, is_heavy_tailed, correlation in product((False, True), (False, True), CORRELATIONS):
        for rate, share in MODELS:
            yield ReturningUsers(correlation, is_heavy_tailed, in_sessions, share=share, rate=rate)


def unequal_models() -> Iterator[ReturningUsers]:
    """Returns the scenarios of a better canary; those of a worse one have the lift with the other sign."""
    for correlation, is_heavy_tailed in product(CORRELATIONS, (False, True)):
        yield ReturningUsers(correlation, is_heavy_tailed, in_sessions=False, rate=0.3, lift=LIFT)


def false_alarms(scenario: ReturningUsers, runs: int) -> Figures:
    """Returns the share of the runs in which any difference was found, by the number of impressions until then."""
    print(scenario, file=sys.stderr)
    first = np.minimum(*simulate_returning(scenario, runs=runs))
    return {str(until): float(np.mean(first <= until)) for until in SHOWN_AT}


def found(scenario: ReturningUsers, runs: int) -> Figures:
    """Returns the share of the runs in which a better canary, and one that is as much worse, was found to be so."""
    print(scenario, file=sys.stderr)
    better = simulate_returning(scenario, runs=runs)
    worse = simulate_returning(replace(scenario, lift=-scenario.lift), runs=runs)
    return {
        "lift_found": float(np.mean(better.better < better.worse)),
        "loss_found": float(np.mean(worse.worse < worse.better)),
        "lift_impressions_median": float(np.median(np.minimum(better.better, scenario.impressions))),
    }


def measure(runs: int) -> dict[str, int | float | dict[str, Figures]]:
    """Returns all figures, from so many runs of each scenario."""
    alarms = {str(one): false_alarms(one, runs) for one in equal_models()}
    return {
        "runs": runs,
        "worst_false_alarms": max(max(figures.values()) for figures in alarms.values()),
        "false_alarms": alarms,
        "found": {str(one): found(one, runs) for one in unequal_models()},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000, help="runs of each scenario (default: 1000)")
    print(json.dumps(measure(parser.parse_args().runs)))
