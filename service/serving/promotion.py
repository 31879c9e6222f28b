"""Watches the trial of a canary, and promotes the canary or rolls it back if the service may do so by itself."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rqrec.service.errors import Conflict, StoreUnavailable
from rqrec.service.events.store import EventStore
from rqrec.service.outcomes.outcome_counts import Arm, OutcomeCounts
from rqrec.service.outcomes.outcome_test import OutcomeTest, TrialArm, Verdict
from rqrec.service.outcomes.policy import Action, Promotion
from rqrec.service.outcomes.trial_metrics import TrialMetrics
from rqrec.service.periodic import Periodic
from rqrec.service.serving.deployment import Deployment, Role
from rqrec.service.serving.model_switch import ModelSwitch

logger = logging.getLogger("rqrec")


@dataclass(frozen=True)
class TrialReport:
    """What is known of the present trial.

    Attributes:
        trial: The trial: the revision of the rollout.
        counts: What came of its impressions.
        arms: The active model and, if there is one, the canary.
        started_at: When the canary began, in seconds since 1970; None if there is no canary.
        verdict: What is known of the canary; None if there is none.
    """

    trial: int
    counts: OutcomeCounts
    arms: Sequence[Arm]
    started_at: float | None = None
    verdict: Verdict | None = None


class PromotionWatch:
    """Reads the counts of the present trial again and again, shows them, and acts on the decision.

    Every replica does so. All of them read the same counts, and each has its own measurements for the guardrails. The
    first one that decides changes the rollout, which ends the trial for all.

    Args:
        models: Holds the models and their roles, and changes them.
        store: Counts the outcomes.
        test: Compares the models.
        promotion: What to do with the decisions.
        metrics: Shows the trial.
        check_every_s: Pause between two checks, in seconds.

    Attributes:
        promotion: What is done with the decisions.
        test: Compares the models.
    """

    def __init__(
        self,
        models: ModelSwitch,
        store: EventStore,
        test: OutcomeTest,
        promotion: Promotion,
        metrics: TrialMetrics,
        *,
        check_every_s: float,
    ) -> None:
        self.promotion = promotion
        self.test = test
        self._models = models
        self._store = store
        self._metrics = metrics
        self._advised: tuple[int, Action] | None = None  # the last decision in the log, and its trial
        self._checks = Periodic(self.check, check_every_s, expected=StoreUnavailable)

    def start(self) -> None:
        """Starts the checks, unless promotion is off."""
        if self.promotion is not Promotion.OFF:
            self._checks.start()

    async def stop(self) -> None:
        """Waits for a running check, and ends the checks."""
        await self._checks.stop()

    def trial_of(self, deployment: Deployment) -> int | None:
        """Returns the trial in which the lists of a deployment count; None if promotion is off."""
        return None if self.promotion is Promotion.OFF else deployment.rollout.revision

    async def report(self, deployment: Deployment) -> TrialReport | None:
        """Returns what is known of the trial of a deployment; None if promotion is off.

        Args:
            deployment: The loaded models with their roles.

        Raises:
            StoreUnavailable: If the event store does not answer.
        """
        if (trial := self.trial_of(deployment)) is None:
            return None
        counts, rollout = await self._store.outcome_counts(trial), deployment.rollout
        active = Arm(rollout.active, Role.ACTIVE.value)
        if rollout.role is not Role.CANARY or rollout.candidate is None:
            return TrialReport(trial, counts, [active])
        canary = Arm(rollout.candidate, Role.CANARY.value)
        verdict = self.test.judge(
            counts,
            TrialArm(canary, deployment.health[Role.CANARY].health),
            TrialArm(active, deployment.health[Role.ACTIVE].health),
            age_s=max(time.time() - rollout.changed_at, 0.0),
        )
        return TrialReport(trial, counts, [active, canary], rollout.changed_at, verdict)

    async def check(self) -> None:
        """Looks at the present trial once: shows it, and acts on the decision.

        Raises:
            StoreUnavailable: If the event store does not answer.
        """
        deployment = self._models.deployment
        if deployment is None or (report := await self.report(deployment)) is None:
            return
        by_role = {arm.role: report.counts.by_surface(arm) for arm in report.arms}
        age_s = 0.0 if report.started_at is None else max(time.time() - report.started_at, 0.0)
        self._metrics.show(by_role, report.verdict, age_s)
        if report.verdict is not None and report.verdict.decision.action is not Action.WAIT:
            await self._decide(deployment, report, report.verdict.decision.action)

    async def _decide(self, deployment: Deployment, report: TrialReport, action: Action) -> None:
        """Carries a decision out, or writes it to the log."""
        rollout, text = deployment.rollout, self._describe(report)
        if self.promotion is Promotion.ADVISE:
            if self._advised != (report.trial, action):
                logger.info("the outcome test advises to %s the canary %s: %s", _VERBS[action], rollout.candidate, text)
            self._advised = (report.trial, action)
            return
        version = rollout.candidate if action is Action.PROMOTE else rollout.active
        assert version is not None
        try:
            await self._models.assign(version, Role.ACTIVE, 100.0, expected=report.trial)
        except Conflict:
            logger.info(
                "the decision to %s the canary %s came late: another replica or an admin changes the models",
                _VERBS[action],
                rollout.candidate,
            )
            return
        self._metrics.carried_out.labels(action).inc()
        logger.warning("decided to %s the canary %s: %s", _VERBS[action], rollout.candidate, text)

    def _describe(self, report: TrialReport) -> str:
        """The reasons of a decision, and the figures of both models."""
        assert report.verdict is not None
        kind, figures = self.test.kind, []
        for arm in report.arms:
            found = report.counts.total(arm).of(kind)
            figures.append(f"{arm.role} {arm.version} {found.successes} {kind} of {found.impressions} impressions")
        return "; ".join([*report.verdict.decision.reasons, *figures])


_VERBS = {Action.PROMOTE: "promote", Action.ROLL_BACK: "roll back"}
