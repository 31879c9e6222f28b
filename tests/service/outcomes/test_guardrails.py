import math
from dataclasses import replace
from typing import Any

import pytest

from rqrec.service.outcomes.guardrails import Guardrails, Health

HEALTHY = Health(requests=10_000, errors=20, short_lists=100, p99_s=0.010)


def test_equal_models_break_nothing() -> None:
    assert Guardrails().broken(HEALTHY, HEALTHY) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"errors": 121}, "the canary's share of errors is 1.21%, more than 1.00% above the active model's 0.20%"),
        (
            {"short_lists": 301},
            "the canary's share of short lists is 3.01%, more than 2.00% above the active model's 1.00%",
        ),
        ({"p99_s": 0.0201}, "the canary's p99 is 20.1 ms, more than 2 times the active model's 10.0 ms"),
    ],
)
def test_each_limit_is_broken_by_what_exceeds_it(change: dict[str, Any], reason: str) -> None:
    worse = replace(HEALTHY, **change)
    assert Guardrails().broken(worse, HEALTHY) == [reason]
    assert Guardrails().broken(HEALTHY, worse) == []


def test_what_is_just_at_a_limit_breaks_nothing() -> None:
    at_limit = Health(requests=10_000, errors=120, short_lists=300, p99_s=0.020)
    assert Guardrails().broken(at_limit, HEALTHY) == []


def test_every_broken_limit_is_named() -> None:
    assert len(Guardrails().broken(Health(10_000, 9_000, 9_000, 1.0), HEALTHY)) == 3


@pytest.mark.parametrize(("canary", "active", "expected"), [(1_999, 2_000, 0), (2_000, 1_999, 0), (2_000, 2_000, 1)])
def test_nothing_is_broken_before_both_models_have_enough_requests(canary: int, active: int, expected: int) -> None:
    failing, working = Health(canary, canary, 0, 0.01), Health(active, 0, 0, 0.01)
    assert len(Guardrails().broken(failing, working)) == expected
    assert Guardrails().are_measured(failing, working) == bool(expected)


def test_no_requests_at_all_are_no_error() -> None:
    assert Guardrails().broken(Health(0, 0, 0, 0.0), Health(0, 0, 0, 0.0)) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"errors": 10_001}, "expected 0 to 10000 errors of 10000 requests, got 10001"),
        ({"short_lists": -1}, "expected 0 to 10000 short_lists of 10000 requests, got -1"),
        ({"p99_s": math.nan}, "p99_s of 0 or more seconds, got nan"),
        ({"p99_s": math.inf}, "p99_s of 0 or more seconds, got inf"),
    ],
)
def test_impossible_health_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(HEALTHY, **change)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"min_requests": 0}, "min_requests of 1 or more, got 0"),
        ({"max_more_errors": -0.1}, "max_more_errors of 0 or more, got -0.1"),
        ({"max_more_short_lists": math.nan}, "max_more_short_lists of 0 or more, got nan"),
        ({"max_p99_ratio": -1.0}, "max_p99_ratio of 0 or more, got -1.0"),
    ],
)
def test_impossible_limits_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Guardrails(**setting)
