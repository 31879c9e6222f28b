from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rqrec.service.outcomes.binary_outcomes import BinaryOutcomes
from rqrec.service.outcomes.outcome_counts import (
    MAX_SURFACES,
    NUM_BUCKETS,
    Arm,
    Cell,
    OutcomeCounts,
    OutcomeKind,
    Outcomes,
    bucket_of,
)

ACTIVE, CANARY = Arm("1", "active"), Arm("2", "canary")


def test_counts_of_several_places_are_added_up_by_model_and_surface() -> None:
    counts = OutcomeCounts.merged(
        [
            (Cell(ACTIVE, "home"), Outcomes(2, 1, 0)),
            (Cell(ACTIVE, 7), Outcomes(3, 1, 1)),
            (Cell(CANARY, "home"), Outcomes(1, 0, 1)),
            (Cell(ACTIVE, "none"), Outcomes(1, 0, 1)),
            (Cell(ACTIVE, "home"), Outcomes(5, 2, 2)),
        ]
    )
    assert counts.by_surface(ACTIVE) == {"home": Outcomes(7, 3, 2), "none": Outcomes(1, 0, 1)}
    assert counts.by_surface(CANARY) == {"home": Outcomes(1, 0, 1)}
    assert counts.total(ACTIVE) == Outcomes(8, 3, 3)


def test_a_model_without_impressions_has_no_outcomes() -> None:
    counts = OutcomeCounts({})
    assert (counts.by_surface(CANARY), counts.total(CANARY)) == ({}, Outcomes())
    assert counts.design_effect(CANARY, OutcomeKind.CLICKS) == 1


def test_clicks_and_conversions_are_compared_by_impression() -> None:
    outcomes = Outcomes(10, clicks=4, conversions=1)
    assert outcomes.of(OutcomeKind.CLICKS) == BinaryOutcomes(10, 4)
    assert outcomes.of(OutcomeKind.CONVERSIONS) == BinaryOutcomes(10, 1)


def test_more_clicks_than_impressions_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 0 to 1 successes of 1 impressions, got 2: count an impression"):
        Outcomes(1, clicks=2)


@given(st.lists(st.tuples(st.sampled_from([ACTIVE, CANARY]), st.integers(0, 60)), max_size=200))
def test_the_surfaces_with_the_most_impressions_are_the_same_for_all_models(shown: list[tuple[Arm, int]]) -> None:
    counts = OutcomeCounts.merged((Cell(arm, f"{number:02}"), Outcomes(1)) for arm, number in shown)
    totals = Counter(f"{number:02}" for _, number in shown)
    own = sorted(totals, key=lambda name: (-totals[name], name))[:MAX_SURFACES]
    for arm in (ACTIVE, CANARY):
        names = (f"{number:02}" for shown_by, number in shown if shown_by == arm)
        expected = Counter(name if name in own else "other" for name in names)
        assert {name: one.impressions for name, one in counts.by_surface(arm).items()} == expected


def test_the_design_effect_is_that_of_the_differences_between_buckets() -> None:
    # Rate 1 / 2; residuals 2, -2, 0, 0: sum of squares 8, times 4 / 3; of 12 independent impressions 3.
    clicks = [(4, 4), (4, 0), (2, 1), (2, 1)]
    cells = {Cell(ACTIVE, bucket): Outcomes(*one) for bucket, one in enumerate(clicks)}
    counts = OutcomeCounts({**cells, Cell(ACTIVE, "home"): Outcomes(12, 6), Cell(CANARY, 1): Outcomes(100, 3)})
    assert counts.design_effect(ACTIVE, OutcomeKind.CLICKS) == pytest.approx(8 * 4 / 3 / 3)
    assert counts.design_effect(ACTIVE, OutcomeKind.CONVERSIONS) == 1  # there are none
    assert counts.design_effect(CANARY, OutcomeKind.CLICKS) == 1  # one bucket tells nothing


def test_buckets_of_users_show_how_much_impressions_of_one_user_resemble_each_other() -> None:
    rng = np.random.default_rng(0)
    clicked_U = rng.binomial(20, rng.beta(1.9, 17.1, 20_000))  # a design effect of 1 + 19 / 20
    cells = (
        (Cell(ACTIVE, bucket_of(f"user {number}")), Outcomes(20, int(clicks)))
        for number, clicks in enumerate(clicked_U)
    )
    counts = OutcomeCounts.merged(cells)
    assert len(counts.cells) == NUM_BUCKETS
    assert counts.design_effect(ACTIVE, OutcomeKind.CLICKS) == pytest.approx(1.95, rel=0.3)


def test_users_are_spread_evenly_over_the_buckets() -> None:
    sizes = Counter(bucket_of(f"user {number}") for number in range(NUM_BUCKETS * 100))
    assert set(sizes) == set(range(NUM_BUCKETS))
    assert max(sizes.values()) < 150
