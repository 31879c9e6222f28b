import numpy as np
import pytest
from numpy.typing import NDArray

from rqrec.training.insight import item_map
from rqrec.training.insight.item_map import draw_map


def grouped(count: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Vectors around three centres, and the centre of each."""
    rng = np.random.default_rng(seed)
    group_N = rng.integers(3, size=count)
    centres = 10 * np.random.default_rng(9).normal(size=(3, 40))
    return (centres[group_N] + rng.normal(size=(count, 40))).astype(np.float32), group_N


def nearest_is_of_the_group(places_N2: NDArray[np.float32], group_N: NDArray[np.int64]) -> float:
    distances_NN = ((places_N2[:, None] - places_N2) ** 2).sum(2) + np.where(np.eye(len(group_N)), np.inf, 0)
    return float((group_N[distances_NN.argmin(1)] == group_N).mean())


@pytest.mark.parametrize("sample", [1000, 60])
def test_items_with_similar_vectors_are_near_also_those_beside_the_sample(
    monkeypatch: pytest.MonkeyPatch, sample: int
) -> None:
    monkeypatch.setattr(item_map, "SAMPLE", sample)
    vectors_ND, group_N = grouped(150)
    places_N2 = draw_map(vectors_ND)
    assert places_N2.dtype == np.float32
    assert np.abs(places_N2).max() == 1
    assert nearest_is_of_the_group(places_N2, group_N) > 0.98
    assert (places_N2 == draw_map(vectors_ND)).all()


def test_known_items_keep_their_places_and_new_ones_join_their_group() -> None:
    vectors_ND, group_N = grouped(90)
    known_R2 = np.stack([group_N[:80], np.arange(80) / 1000], axis=1).astype(np.float32)
    places_N2 = draw_map(vectors_ND, known_R2)
    assert (places_N2[:80] == known_R2).all()
    assert (places_N2[80:, 0].round() == group_N[80:]).all()


@pytest.mark.parametrize("vectors_ND", [np.ones((1, 4)), np.ones((50, 4)), np.eye(3)])
def test_small_and_uniform_catalogues_have_a_map(vectors_ND: NDArray[np.float64]) -> None:
    places_N2 = draw_map(vectors_ND.astype(np.float32))
    assert places_N2.shape == (len(vectors_ND), 2)
    assert np.isfinite(places_N2).all()
