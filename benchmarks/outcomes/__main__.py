"""Measures how often the outcome test is wrong, and how soon it is right.

    python -m benchmarks.outcomes

Every run is one simulated canary, whose interval is looked at after every impression. The result is one line of JSON.
Its figures are those of the worst scenario; `by_scenario` has all of them. Progress is written to standard error.

- `aa_false_alarms`: share of the runs in which two equal models were ever found to differ.
- `lift_found_share`: share of the runs in which a better canary was found to be better.
- `lift_impressions_median`: median number of impressions of both models until then. A run in which it was not found
  counts all its impressions.
- `loss_rolled_back_share`: share of the runs in which a worse canary was found to be worse.
- `repeated_users_false_alarms`: false alarms where users have rates of their own and 20 impressions each, by the design
  effect that the sequence assumes. The true one is 2.
"""

import argparse
import json
import sys
from collections.abc import Iterable

import numpy as np

from benchmarks.outcomes.simulation import Found, Scenario, simulate
from rqrec.service.outcomes.confidence_sequence import ConfidenceSequence

SHARES, RATES, CHANGED_RATES, LIFT = (0.5, 0.1), (0.01, 0.02, 0.05, 0.1, 0.3, 0.5), (0.1, 0.3), 0.1
CANARY_IMPRESSIONS = 20_000  # of two equal models
LARGEST_SIZE = 25_000  # of two models that differ: the harmonic size at which a run ends
Figures = dict[str, float]


def simulate_all(scenarios: Iterable[Scenario], runs: int) -> dict[Scenario, Found]:
    """Simulates scenarios with the default confidence sequence.

    Args:
        scenarios: The models and their impressions.
        runs: How many times to run each scenario.
    """
    results = {}
    for scenario in scenarios:
        print(scenario, file=sys.stderr)
        results[scenario] = simulate(scenario, ConfidenceSequence().difference_bounds, runs=runs)
    return results


def equal_models() -> list[Scenario]:
    """Returns the scenarios of a canary that is as good as the active model."""
    return [Scenario(share, rate, impressions=round(CANARY_IMPRESSIONS / share)) for share in SHARES for rate in RATES]


def unequal_models(lift: float) -> list[Scenario]:
    """Returns the scenarios of a canary whose rate differs by a lift."""
    return [
        Scenario(share, rate, lift, impressions=round(LARGEST_SIZE / (share * (1 - share))))
        for share in SHARES
        for rate in CHANGED_RATES
    ]


def share_of_alarms(found: Found) -> float:
    """Returns the share of the runs in which any difference was found."""
    return float(np.mean(np.isfinite(np.minimum(found.better, found.worse))))


def repeated_users(runs: int) -> Figures:
    """Returns the share of false alarms with users who return, by the design effect that the sequence assumes."""
    scenario = Scenario(share=0.5, rate=0.1, impressions=40_000, users=2_000)
    print(scenario, file=sys.stderr)
    sequences = [ConfidenceSequence(design_effect=effect) for effect in (1.0, 2.0)]
    return {
        f"{one.design_effect:g}": share_of_alarms(simulate(scenario, one.difference_bounds, runs=runs))
        for one in sequences
    }


def measure(runs: int) -> dict[str, float | Figures | dict[str, Figures]]:
    """Returns all figures, from so many runs of each scenario."""
    equal = simulate_all(equal_models(), runs)
    better, worse = simulate_all(unequal_models(LIFT), runs), simulate_all(unequal_models(-LIFT), runs)
    alarms = {str(one): share_of_alarms(found) for one, found in equal.items()}
    lifts = {str(one): float(np.mean(found.better < found.worse)) for one, found in better.items()}
    medians = {str(one): float(np.median(np.minimum(found.better, one.impressions))) for one, found in better.items()}
    losses = {str(one): float(np.mean(found.worse < found.better)) for one, found in worse.items()}
    return {
        "runs": runs,
        "aa_false_alarms": max(alarms.values()),
        "lift_found_share": min(lifts.values()),
        "lift_impressions_median": max(medians.values()),
        "loss_rolled_back_share": min(losses.values()),
        "repeated_users_false_alarms": repeated_users(runs),
        "by_scenario": {
            "aa_false_alarms": alarms,
            "lift_found_share": lifts,
            "lift_impressions_median": medians,
            "loss_rolled_back_share": losses,
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000, help="runs of each scenario (default: 1000)")
    print(json.dumps(measure(parser.parse_args().runs)))
