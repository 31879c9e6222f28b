"""The policy of a trial: whether to promote a canary, to roll it back, or to wait."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from rqrec.service.outcomes.binary_outcomes import BinaryOutcomes
from rqrec.service.outcomes.confidence_sequence import ConfidenceSequence, Interval
from rqrec.service.outcomes.guardrails import Guardrails, Health

DAY_S = 86_400.0


class Promotion(StrEnum):
    """What a service does with the decisions. OFF counts no outcomes, ADVISE shows decisions, AUTO carries them out."""

    OFF = "off"
    ADVISE = "advise"
    AUTO = "auto"


class Action(StrEnum):
    """What to do with a canary. PROMOTE makes it the active model, ROLL_BACK ends it, and WAIT leaves it as it is."""

    PROMOTE = "promote"
    ROLL_BACK = "roll_back"
    WAIT = "wait"


@dataclass(frozen=True)
class Evidence:
    """What is known of one model of a trial.

    Attributes:
        outcomes: The outcomes that the trial compares, such as clicks.
        health: How the model answers its requests.
    """

    outcomes: BinaryOutcomes
    health: Health


@dataclass(frozen=True)
class Decision:
    """What to do with a canary, and why.

    Attributes:
        action: What to do.
        difference: The interval of the canary's rate minus the active model's.
        reasons: Why, one sentence each; at least one.
    """

    action: Action
    difference: Interval
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Policy:
    """Decides about a canary from its outcomes and its health. It may be asked at any time, and as often as wanted.

    In this order: a broken guardrail rolls the canary back. So does a rate that is lower than the active model's by
    more than `tolerated_loss`. A higher rate promotes the canary, once the guardrails are measured. At the deadline the
    active model stays: a canary without a gain that shows in this time is not worth the risk of a change. Otherwise
    the trial goes on.

    Attributes:
        sequence: The confidence sequence of the difference of both rates.
        guardrails: What the canary may not make worse.
        tolerated_loss: How much lower the canary's rate may be, 0 or more; 0.002 is 0.2 percentage points.
        deadline_s: How long a trial lasts at most, in seconds, above 0.

    Raises:
        ValueError: If a value is out of its range.
    """

    sequence: ConfidenceSequence = field(default_factory=ConfidenceSequence)
    guardrails: Guardrails = field(default_factory=Guardrails)
    tolerated_loss: float = 0.0
    deadline_s: float = 14 * DAY_S

    def __post_init__(self) -> None:
        if not 0 <= self.tolerated_loss < 1:
            raise ValueError(f"expected tolerated_loss of at least 0 and less than 1, got {self.tolerated_loss}")
        if not 0 < self.deadline_s < math.inf:
            raise ValueError(f"expected deadline_s above 0, such as {14 * DAY_S:.0f} (14 days), got {self.deadline_s}")

    def decide(self, canary: Evidence, active: Evidence, *, age_s: float) -> Decision:
        """Decides about the canary.

        Args:
            canary: What is known of the canary.
            active: What is known of the active model, from the same time.
            age_s: How long the trial lasts already, in seconds.
        """
        difference = self.sequence.difference(canary.outcomes, active.outcomes)
        are_measured = self.guardrails.are_measured(canary.health, active.health)
        action, reasons = Action.WAIT, [_describe(difference)]
        if broken := self.guardrails.broken(canary.health, active.health):
            action, reasons = Action.ROLL_BACK, broken
        elif difference.upper < -self.tolerated_loss:
            action = Action.ROLL_BACK
        elif difference.lower > 0 and are_measured:
            action = Action.PROMOTE
        else:
            if not are_measured:
                reasons.append(f"the guardrails need {self.guardrails.min_requests} requests of each model")
            if age_s >= self.deadline_s:
                action = Action.ROLL_BACK
                reasons.append(f"the deadline of {self.deadline_s / DAY_S:g} days has passed: the active model stays")
        return Decision(action, difference, tuple(reasons))


def _describe(difference: Interval) -> str:
    low, high = difference
    if low > 0:
        return f"the canary's rate is higher than the active model's, by {low:.4f} to {high:.4f}"
    if high < 0:
        return f"the canary's rate is lower than the active model's, by {-high:.4f} to {-low:.4f}"
    return f"no difference of the rates is shown yet: between {low:.4f} and {high:.4f}"
