"""The outcome test of a service: the rates of the models of a trial, their differences, and the decision."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from rqrec.service.outcomes.confidence_sequence import ConfidenceSequence, Interval
from rqrec.service.outcomes.guardrails import Health
from rqrec.service.outcomes.outcome_counts import Arm, OutcomeCounts, OutcomeKind, Outcomes
from rqrec.service.outcomes.policy import Decision, Evidence, Policy


class Rates(NamedTuple):
    """What came of some impressions of a model.

    Attributes:
        outcomes: How many impressions, clicks and conversions there were.
        intervals: The interval of the rate of clicks, and of that of conversions.
    """

    outcomes: Outcomes
    intervals: Mapping[OutcomeKind, Interval]


class TrialArm(NamedTuple):
    """A model of a trial, and how this replica has answered with it.

    Attributes:
        arm: The model.
        health: Its health.
    """

    arm: Arm
    health: Health


@dataclass(frozen=True)
class Verdict:
    """What is known of the canary of a trial.

    Attributes:
        differences: The intervals of the canary's rate minus the active model's, for clicks and for conversions.
        design_effect: The design effect of the outcome that decides.
        decision: What to do with the canary, and why.
    """

    differences: Mapping[OutcomeKind, Interval]
    design_effect: float
    decision: Decision


@dataclass(frozen=True)
class OutcomeTest:
    """Compares the models of a trial by their counts.

    Attributes:
        kind: The outcome that decides.
        policy: Decides about the canary. The design effect of its sequence is replaced by that of the counts.
    """

    kind: OutcomeKind = OutcomeKind.CLICKS
    policy: Policy = field(default_factory=Policy)

    def rates(self, counts: OutcomeCounts, arm: Arm) -> Rates:
        """Returns the rates of a model on all surfaces.

        Args:
            counts: The counts of the trial.
            arm: The model.
        """
        return self._rates(counts, arm, counts.total(arm))

    def rates_by_surface(self, counts: OutcomeCounts, arm: Arm) -> dict[str, Rates]:
        """Returns the rates of a model, by surface.

        Args:
            counts: The counts of the trial.
            arm: The model.
        """
        return {name: self._rates(counts, arm, one) for name, one in counts.by_surface(arm).items()}

    def judge(self, counts: OutcomeCounts, canary: TrialArm, active: TrialArm, *, age_s: float) -> Verdict:
        """Judges a canary.

        Args:
            counts: The counts of the trial.
            canary: The canary.
            active: The active model.
            age_s: How long the trial lasts already, in seconds.
        """
        effects = {kind: max(counts.design_effect(one.arm, kind) for one in (canary, active)) for kind in OutcomeKind}
        ours, theirs = counts.total(canary.arm), counts.total(active.arm)
        policy = replace(self.policy, sequence=self._sequence(effects[self.kind]))
        decision = policy.decide(
            Evidence(ours.of(self.kind), canary.health), Evidence(theirs.of(self.kind), active.health), age_s=age_s
        )
        differences = {
            kind: self._sequence(effect).difference(ours.of(kind), theirs.of(kind)) for kind, effect in effects.items()
        }
        return Verdict(differences, effects[self.kind], decision)

    def _rates(self, counts: OutcomeCounts, arm: Arm, outcomes: Outcomes) -> Rates:
        return Rates(
            outcomes,
            {kind: self._sequence(counts.design_effect(arm, kind)).rate(outcomes.of(kind)) for kind in OutcomeKind},
        )

    def _sequence(self, design_effect: float) -> ConfidenceSequence:
        return replace(self.policy.sequence, design_effect=design_effect)
