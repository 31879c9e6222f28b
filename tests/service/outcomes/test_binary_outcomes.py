import pytest

from rqrec.service.outcomes.binary_outcomes import BinaryOutcomes


@pytest.mark.parametrize(("impressions", "successes"), [(0, 1), (10, 11), (10, -1), (-1, 0)])
def test_impossible_counts_are_refused(impressions: int, successes: int) -> None:
    with pytest.raises(ValueError, match=f"expected 0 to {impressions} successes .* got {successes}: count"):
        BinaryOutcomes(impressions, successes)


def test_all_or_none_may_be_successes() -> None:
    assert BinaryOutcomes(3, 3) != BinaryOutcomes(3, 0)
