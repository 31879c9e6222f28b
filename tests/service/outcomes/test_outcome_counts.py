import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqrec.service.outcomes.binary_outcomes import BinaryOutcomes
from rqrec.service.outcomes.outcome_counts import MAX_SURFACES, Arm, OutcomeCounts, Outcomes

ACTIVE, CANARY = Arm("1", "active"), Arm("2", "canary")
SINCE, LATER = 100.0, 101.0


@pytest.fixture
def counts() -> OutcomeCounts:
    return OutcomeCounts([ACTIVE, CANARY], SINCE)


def test_outcomes_are_counted_by_model_and_surface(counts: OutcomeCounts) -> None:
    for arm, surface in [(ACTIVE, "home"), (ACTIVE, "home"), (ACTIVE, None), (CANARY, "home")]:
        counts.add_impression(arm, surface, LATER)
    counts.add_click(ACTIVE, "home", LATER)
    counts.add_conversion(CANARY, "home", SINCE)
    assert counts.by_surface(ACTIVE) == {"home": Outcomes(2, 1, 0), "none": Outcomes(1, 0, 0)}
    assert counts.by_surface(CANARY) == {"home": Outcomes(1, 0, 1)}
    assert counts.total(ACTIVE) == Outcomes(3, 1, 0)


def test_a_model_without_impressions_has_no_outcomes(counts: OutcomeCounts) -> None:
    assert (counts.by_surface(CANARY), counts.total(CANARY)) == ({}, Outcomes())


def test_clicks_and_conversions_are_compared_by_impression() -> None:
    outcomes = Outcomes(10, clicks=4, conversions=1)
    assert (outcomes.clicked, outcomes.converted) == (BinaryOutcomes(10, 4), BinaryOutcomes(10, 1))


@pytest.mark.parametrize("arm", [Arm("3", "active"), Arm("2", "active"), Arm("1", "canary")])
def test_models_that_the_trial_does_not_compare_are_left_out(counts: OutcomeCounts, arm: Arm) -> None:
    counts.add_impression(arm, "home", LATER)
    assert counts.total(ACTIVE) == counts.total(CANARY) == Outcomes()


def test_what_was_shown_before_the_trial_is_left_out(counts: OutcomeCounts) -> None:
    counts.add_impression(ACTIVE, "old", SINCE - 1)
    counts.add_click(ACTIVE, "old", SINCE - 1)
    assert counts.by_surface(ACTIVE) == {}


def test_a_click_without_an_impression_is_refused_and_changes_nothing(counts: OutcomeCounts) -> None:
    counts.add_impression(ACTIVE, "home", LATER)
    for add in (counts.add_click, counts.add_conversion):
        add(ACTIVE, "home", LATER)
        with pytest.raises(ValueError, match="expected 0 to 1 successes of 1 impressions, got 2: count an impression"):
            add(ACTIVE, "home", LATER)
    assert counts.total(ACTIVE) == Outcomes(1, 1, 1)


@given(st.lists(st.tuples(st.sampled_from([ACTIVE, CANARY]), st.integers(0, 60)), max_size=200))
def test_there_are_few_surfaces_the_same_for_all_models(shown: list[tuple[Arm, int]]) -> None:
    counts = OutcomeCounts([ACTIVE, CANARY], SINCE)
    for arm, surface in shown:
        counts.add_impression(arm, str(surface), LATER)
    first = list(dict.fromkeys(str(surface) for _, surface in shown))[:MAX_SURFACES]
    for arm in (ACTIVE, CANARY):
        expected: dict[str, int] = {}
        for own in (str(surface) for shown_by, surface in shown if shown_by == arm):
            label = own if own in first else "other"
            expected[label] = expected.get(label, 0) + 1
        assert {label: one.impressions for label, one in counts.by_surface(arm).items()} == expected
