import numpy as np
import pytest
from numpy.typing import NDArray

from rqrec.training.data.splits import Sequences
from rqrec.training.evaluation.semantic_id_health import (
    SemanticIdSettings,
    check_not_collapsed,
    codebook_figures,
    neighbourhood_figures,
)


def test_codebook_figures_by_hand() -> None:
    figures = codebook_figures(np.array([[0, 1], [0, 1], [1, 1], [1, 1]]), codebook_size=4)
    assert figures == {
        "usage_0": 0.5,
        "dead_codes_0": 2,
        "perplexity_0": pytest.approx(2.0),
        "gini_0": pytest.approx(0.5),
        "usage_1": 0.25,
        "dead_codes_1": 3,
        "perplexity_1": pytest.approx(1.0),
        "gini_1": pytest.approx(0.75),
        "collision_ratio": 1.0,
    }


def test_neighbourhood_figures_by_hand() -> None:
    train = Sequences.from_arrays(np.array([0, 1, 2, 3, 3, 2], dtype=np.int32), np.array([0, 4, 6]))
    codes_NL, features_NE = np.array([[0, 0], [0, 1], [1, 0], [1, 0]]), np.eye(4, dtype=np.float32)
    features_NE[3] = features_NE[2]
    figures = neighbourhood_figures(codes_NL, features_NE, train)
    # The neighbours are (0, 1), (1, 2), (2, 3) and (3, 2); of the two pairs that share a first code one is alike.
    assert figures["together_0"] == 0.75
    assert figures["together_1"] == 0.5
    assert figures["similarity_0"] == pytest.approx(0.5)
    assert figures["similarity_1"] == pytest.approx(1.0)
    assert 0 <= figures["together_by_chance_0"] <= 1


@pytest.mark.parametrize(
    ("figures", "group_N", "levels", "message"),
    [
        (
            {"perplexity_0": 1.2, "collision_ratio": 0.0},
            np.arange(1000),
            3,
            "perplexity of at least 12.8 of 256 codes .*, got 1.2: check",
        ),
        (
            {"perplexity_0": 99.0, "collision_ratio": 0.7},
            np.arange(1000),
            3,
            "at most 60% of the items may .*, got 70%: check the features, and RqVaeSettings.learning_rate",
        ),
        (
            {"perplexity_0": 99.0, "collision_ratio": 0.7},
            np.arange(1000),
            1,
            "got 70%: 1 levels of 256 codes have 256 combinations for 1000 items: raise RqVaeSettings.codebook_size",
        ),
        (
            {"perplexity_0": 99.0, "collision_ratio": 0.7},
            np.arange(1000) // 2,
            3,
            "got 70%: 100% of the items have the same features as another item: add attributes that differ",
        ),
    ],
)
def test_collapsed_ids_stop_training_with_the_cause(
    figures: dict[str, float], group_N: NDArray[np.int64], levels: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_not_collapsed(figures, group_N, codebook_size=256, num_levels=levels, settings=SemanticIdSettings())


@pytest.mark.parametrize("group_N", [np.arange(5), np.zeros(1000, dtype=np.int64), np.arange(1000).clip(900)])
def test_the_first_level_need_not_tell_apart_more_than_the_features_do(group_N: NDArray[np.int64]) -> None:
    figures = {"perplexity_0": 1.0, "collision_ratio": 0.0}
    check_not_collapsed(figures, group_N, codebook_size=256, num_levels=3, settings=SemanticIdSettings())
