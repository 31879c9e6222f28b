import math
from typing import Any

import pytest

from rqrec.service.outcomes.binary_outcomes import BinaryOutcomes
from rqrec.service.outcomes.guardrails import Health
from rqrec.service.outcomes.policy import DAY_S, Action, Decision, Evidence, Policy

DEADLINE_S = 2 * DAY_S
POLICY = Policy(deadline_s=DEADLINE_S)
ACTIVE_OUTCOMES = BinaryOutcomes(10_000, 3_000)
OUTCOMES = {
    "better": BinaryOutcomes(10_000, 3_500),
    "equal": BinaryOutcomes(10_000, 3_010),
    "worse": BinaryOutcomes(10_000, 2_500),
    "few": BinaryOutcomes(20, 10),
}
HEALTH = {
    "healthy": Health(10_000, 10, 10, 0.010),
    "failing": Health(10_000, 5_000, 10, 0.010),
    "unmeasured": Health(100, 0, 0, 0.010),
}
PROMOTE, ROLL_BACK, WAIT = Action.PROMOTE, Action.ROLL_BACK, Action.WAIT


def decide(outcomes: str, health: str = "healthy", *, age_s: float = 1.0, policy: Policy = POLICY) -> Decision:
    canary = Evidence(OUTCOMES[outcomes], HEALTH[health])
    return policy.decide(canary, Evidence(ACTIVE_OUTCOMES, HEALTH["healthy"]), age_s=age_s)


@pytest.mark.parametrize(
    ("outcomes", "health", "early", "late"),
    [
        ("better", "healthy", PROMOTE, PROMOTE),
        ("better", "failing", ROLL_BACK, ROLL_BACK),
        ("better", "unmeasured", WAIT, ROLL_BACK),
        ("equal", "healthy", WAIT, ROLL_BACK),
        ("equal", "failing", ROLL_BACK, ROLL_BACK),
        ("equal", "unmeasured", WAIT, ROLL_BACK),
        ("worse", "healthy", ROLL_BACK, ROLL_BACK),
        ("worse", "failing", ROLL_BACK, ROLL_BACK),
        ("worse", "unmeasured", ROLL_BACK, ROLL_BACK),
        ("few", "healthy", WAIT, ROLL_BACK),
        ("few", "failing", ROLL_BACK, ROLL_BACK),
        ("few", "unmeasured", WAIT, ROLL_BACK),
    ],
)
def test_the_truth_table_before_the_deadline_and_at_it(outcomes: str, health: str, early: Action, late: Action) -> None:
    assert decide(outcomes, health, age_s=DEADLINE_S - 1).action is early
    assert decide(outcomes, health, age_s=DEADLINE_S).action is late


@pytest.mark.parametrize(
    ("outcomes", "health", "age_s", "reasons"),
    [
        ("better", "healthy", 1, ["the canary's rate is higher than the active model's, by 0.0297 to 0.0703"]),
        ("worse", "healthy", 1, ["the canary's rate is lower than the active model's, by 0.0307 to 0.0693"]),
        ("few", "healthy", 1, ["no difference of the rates is shown yet: between -1.0000 and 1.0000"]),
        ("equal", "failing", 1, ["the canary's share of errors is 50.00%"]),
        ("better", "unmeasured", 1, ["the canary's rate is higher", "the guardrails need 2000 requests of each model"]),
        (
            "equal",
            "healthy",
            DEADLINE_S,
            ["no difference", "the deadline of 2 days has passed: the active model stays"],
        ),
        ("equal", "unmeasured", DEADLINE_S, ["no difference", "the guardrails need", "the deadline"]),
    ],
)
def test_a_decision_gives_its_reasons(outcomes: str, health: str, age_s: float, reasons: list[str]) -> None:
    given = decide(outcomes, health, age_s=age_s).reasons
    assert [one[: len(start)] for one, start in zip(given, reasons, strict=True)] == reasons


def test_a_decision_has_the_interval_that_it_is_made_from() -> None:
    assert decide("worse").difference == POLICY.sequence.difference(OUTCOMES["worse"], ACTIVE_OUTCOMES)


def test_a_tolerated_loss_rolls_back_only_what_is_surely_worse_than_that() -> None:
    assert decide("worse", policy=Policy(tolerated_loss=0.03)).action is ROLL_BACK
    assert decide("worse", policy=Policy(tolerated_loss=0.04)).action is WAIT


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"tolerated_loss": -0.01}, "tolerated_loss of at least 0 and less than 1, got -0.01"),
        ({"tolerated_loss": math.nan}, "tolerated_loss of at least 0"),
        ({"deadline_s": 0.0}, "deadline_s above 0, such as 1209600"),
        ({"deadline_s": math.inf}, "deadline_s above 0"),
    ],
)
def test_settings_out_of_range_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Policy(**setting)
