"""The Prometheus metrics of trials. They show what the event store has counted for all replicas."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from rqrec.service.outcomes.outcome_counts import Outcomes
from rqrec.service.outcomes.outcome_test import Verdict
from rqrec.service.outcomes.policy import Action


class TrialMetrics:
    """The metrics of the present trial. The labels are roles, surfaces (at most 33), outcomes and actions.

    Args:
        registry: The registry of the app's metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        counted = (
            ("impressions", "Lists that were shown"),
            ("clicks", "Clicked lists"),
            ("conversions", "Lists with a conversion"),
        )
        self._outcomes = {
            name: Gauge(
                f"rqrec_trial_{name}",
                f"{text} since the roles of the models changed, of all replicas, by model role and surface.",
                ["part", "surface"],
                registry=registry,
            )
            for name, text in counted
        }
        self._difference = Gauge(
            "rqrec_trial_difference",
            "Bounds of the confidence sequence of the canary's rate minus the active model's, by outcome.",
            ["outcome", "bound"],
            registry=registry,
        )
        self._decision = Gauge(
            "rqrec_trial_decision",
            "1 for what the outcome test says of the canary (promote, roll_back, wait), 0 for the others; absent "
            "without a canary.",
            ["action"],
            registry=registry,
        )
        self._age = Gauge("rqrec_trial_age_seconds", "Time since the canary began; 0 without one.", registry=registry)
        self.carried_out = Counter(
            "rqrec_trial_actions_total",
            "Decisions that this replica has carried out by itself.",
            ["action"],
            registry=registry,
        )
        for action in (Action.PROMOTE, Action.ROLL_BACK):
            self.carried_out.labels(action)

    def show(self, counts: Mapping[str, Mapping[str, Outcomes]], verdict: Verdict | None, age_s: float) -> None:
        """Shows the state of the present trial.

        Args:
            counts: The outcomes by role and surface.
            verdict: What is known of the canary; None if there is none.
            age_s: How long the trial of the canary lasts already, in seconds; 0 if there is none.
        """
        for name, gauge in self._outcomes.items():
            gauge.clear()
            for role, by_surface in counts.items():
                for surface, outcomes in by_surface.items():
                    gauge.labels(role, surface).set(getattr(outcomes, name))
        self._difference.clear()
        self._decision.clear()
        self._age.set(age_s)
        if verdict is not None:
            for kind, (lower, upper) in verdict.differences.items():
                self._difference.labels(kind, "lower").set(lower)
                self._difference.labels(kind, "upper").set(upper)
            for action in Action:
                self._decision.labels(action).set(action is verdict.decision.action)
