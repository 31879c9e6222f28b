import numpy as np
import pytest

from rqrec.service.outcomes.guardrails import Health
from rqrec.service.outcomes.health_recorder import HealthRecorder


def test_a_model_without_requests_has_no_figures() -> None:
    assert HealthRecorder().health == Health(0, 0, 0, 0.0)


def test_answers_short_lists_and_errors_are_counted() -> None:
    recorder = HealthRecorder()
    for is_short in (True, False, True):
        recorder.add_answer(0.01, is_short=is_short)
    recorder.add_error()
    health = recorder.health
    assert (health.requests, health.errors, health.short_lists) == (4, 1, 2)


@pytest.mark.parametrize("scale", [1e-6, 0.003, 0.2, 5.0])
def test_the_p99_is_a_little_above_the_true_one(scale: float) -> None:
    recorder, times = HealthRecorder(), scale * np.random.default_rng(0).lognormal(size=5_000)
    for seconds in times:
        recorder.add_answer(float(seconds), is_short=False)
    true = max(float(np.sort(times)[4_949]), 1e-4)
    assert true <= recorder.health.p99_s * (1 + 1e-9)
    assert recorder.health.p99_s <= 1.05 * true


def test_endless_answers_count_as_the_longest_time() -> None:
    recorder = HealthRecorder()
    recorder.add_answer(1e9, is_short=False)
    assert recorder.health.p99_s > 500
