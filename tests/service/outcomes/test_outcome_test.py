import pytest

from rqrec.service.outcomes.confidence_sequence import ConfidenceSequence
from rqrec.service.outcomes.guardrails import Health
from rqrec.service.outcomes.outcome_counts import NUM_BUCKETS, Arm, Cell, OutcomeCounts, OutcomeKind, Outcomes
from rqrec.service.outcomes.outcome_test import OutcomeTest, TrialArm
from rqrec.service.outcomes.policy import Action

HEALTH = Health(5_000, 0, 0, 0.01)
ACTIVE, CANARY = TrialArm(Arm("1", "active"), HEALTH), TrialArm(Arm("2", "canary"), HEALTH)


def even(arm: Arm, total: Outcomes) -> dict[Cell, Outcomes]:
    """The counts of a model whose buckets are all alike."""
    each = Outcomes(*(number // NUM_BUCKETS for number in (total.impressions, total.clicks, total.conversions)))
    return {Cell(arm, "home"): total, **{Cell(arm, bucket): each for bucket in range(NUM_BUCKETS)}}


COUNTS = OutcomeCounts(
    {**even(ACTIVE.arm, Outcomes(12_800, 2_560, 1_280)), **even(CANARY.arm, Outcomes(12_800, 3_200, 1_024))}
)


def test_the_chosen_outcome_decides_and_both_are_shown() -> None:
    by_clicks = OutcomeTest(OutcomeKind.CLICKS).judge(COUNTS, CANARY, ACTIVE, age_s=1.0)
    by_conversions = OutcomeTest(OutcomeKind.CONVERSIONS).judge(COUNTS, CANARY, ACTIVE, age_s=1.0)
    assert (by_clicks.decision.action, by_conversions.decision.action) == (Action.PROMOTE, Action.ROLL_BACK)
    assert by_clicks.differences == by_conversions.differences
    assert by_clicks.decision.difference == by_clicks.differences[OutcomeKind.CLICKS]
    assert by_conversions.decision.difference == by_clicks.differences[OutcomeKind.CONVERSIONS]


def test_buckets_that_differ_make_the_interval_wider() -> None:
    cells = dict(COUNTS.cells)
    for bucket in range(0, NUM_BUCKETS, 2):
        cells[Cell(CANARY.arm, bucket)] = Outcomes(100, 5)
        cells[Cell(CANARY.arm, bucket + 1)] = Outcomes(100, 45)
    verdict = OutcomeTest().judge(OutcomeCounts(cells), CANARY, ACTIVE, age_s=1.0)
    assert verdict.design_effect == pytest.approx(NUM_BUCKETS * 20**2 * 128 / 127 / (12_800 * 0.25 * 0.75))
    assert verdict.decision.action is Action.WAIT
    effect = ConfidenceSequence(design_effect=verdict.design_effect)
    clicks = [COUNTS.total(one.arm).of(OutcomeKind.CLICKS) for one in (CANARY, ACTIVE)]
    assert verdict.decision.difference == effect.difference(*clicks)


def test_rates_have_intervals_in_total_and_by_surface() -> None:
    test = OutcomeTest()
    rates = test.rates(COUNTS, CANARY.arm)
    assert rates.outcomes == Outcomes(12_800, 3_200, 1_024)
    lower, upper = rates.intervals[OutcomeKind.CLICKS]
    assert 0.2 < lower < 0.25 < upper < 0.3
    assert test.rates_by_surface(COUNTS, CANARY.arm) == {"home": rates}
