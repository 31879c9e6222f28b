"""The replies of the model routes: the bundles, their roles, and what came of their lists."""

from datetime import UTC, datetime

from rqrec.models.bundle.manifest import Manifest
from rqrec.service.contract.admin import (
    IntervalReply,
    ModelList,
    ModelReply,
    OutcomesReply,
    RateReply,
    RatesReply,
    TrialReply,
)
from rqrec.service.errors import StoreUnavailable
from rqrec.service.outcomes.outcome_counts import Arm, OutcomeKind
from rqrec.service.outcomes.outcome_test import OutcomeTest, Rates
from rqrec.service.serving.deployment import Deployment, Role
from rqrec.service.serving.promotion import PromotionWatch, TrialReport
from rqrec.service.serving.runtime import Runtime


async def model_list(runtime: Runtime, deployment: Deployment) -> ModelList:
    """Returns the reply of the model routes.

    Args:
        runtime: The running service.
        deployment: The loaded models with their roles.
    """
    try:
        report = await runtime.promotion.report(deployment)
    except StoreUnavailable:
        report = None
    rollout, left_out = deployment.rollout, runtime.models.num_left_out
    outcomes = {} if report is None else {arm: _outcomes(runtime.promotion.test, report, arm) for arm in report.arms}
    replies = []
    for version, found in (await runtime.models.manifests()).items():
        role = Role.ACTIVE if version == rollout.active else rollout.role if version == rollout.candidate else None
        manifest = found if isinstance(found, Manifest) else None
        reply = ModelReply(
            version=version,
            part=role.value if role is not None else None,
            percent=rollout.percent if version == rollout.candidate else None,
            created_at=manifest.created_at if manifest is not None else None,
            num_items=manifest.num_items if manifest is not None else None,
            num_left_out=left_out.get(version),
            metrics={name: dict(figures) for name, figures in manifest.metrics.items()} if manifest is not None else {},
            fault=None if manifest is not None else str(found),
            outcomes=None if role is None else outcomes.get(Arm(version, role.value)),
        )
        replies.append(reply)
    return ModelList(models=replies, trial=None if report is None else _trial(runtime.promotion, report))


def _outcomes(test: OutcomeTest, report: TrialReport, arm: Arm) -> OutcomesReply:
    by_surface = {name: _rates(one) for name, one in test.rates_by_surface(report.counts, arm).items()}
    return OutcomesReply(**dict(_rates(test.rates(report.counts, arm))), by_surface=by_surface)


def _rates(rates: Rates) -> RatesReply:
    replies = {}
    for kind, (lower, upper) in rates.intervals.items():
        impressions, count = (found := rates.outcomes.of(kind)).impressions, found.successes
        rate = count / impressions if impressions else None
        replies[kind] = RateReply(count=count, rate=rate, lower=lower, upper=upper)
    return RatesReply(
        impressions=rates.outcomes.impressions,
        clicks=replies[OutcomeKind.CLICKS],
        conversions=replies[OutcomeKind.CONVERSIONS],
    )


def _trial(promotion: PromotionWatch, report: TrialReport) -> TrialReply | None:
    if report.verdict is None or report.started_at is None:
        return None
    intervals = {
        kind.value: IntervalReply(lower=lower, upper=upper)
        for kind, (lower, upper) in report.verdict.differences.items()
    }
    return TrialReply.model_validate(
        {
            "started_at": datetime.fromtimestamp(report.started_at, UTC),
            "promotion": promotion.promotion.value,
            "outcome": promotion.test.kind.value,
            "differences": intervals,
            "design_effect": report.verdict.design_effect,
            "action": report.verdict.decision.action.value,
            "reasons": list(report.verdict.decision.reasons),
        }
    )
