import numpy as np
import pytest

from rqrec.models.bundle.bundle import LARGEST_CONTENT, LARGEST_PROJECTION
from rqrec.models.bundle.learned_items import LARGEST_VECTOR
from rqrec.models.items.content_neighbours import LARGEST_FEATURE, ContentNeighbours
from rqrec.models.vector_index import unit_rows


def test_a_vector_points_where_its_neighbours_do() -> None:
    rng = np.random.default_rng(0)
    contents_NP = np.repeat(np.eye(3, dtype=np.float32), 30, axis=0)
    vectors_ND = 5 * np.repeat(np.eye(3, 4, dtype=np.float32), 30, axis=0)
    neighbours = ContentNeighbours(np.eye(3, dtype=np.float32), contents_NP.astype(np.float16), vectors_ND)
    features_ME = np.eye(3, dtype=np.float32)[[1, 0]] + rng.normal(scale=0.01, size=(2, 3)).astype(np.float32)
    np.testing.assert_allclose(neighbours.vectors(features_ME), vectors_ND[[30, 0]], atol=1e-4)
    assert neighbours.vectors(np.zeros((0, 3), dtype=np.float32)).shape == (0, 4)


def test_of_many_known_items_the_nearest_are_looked_for_in_few_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(30, 8)).astype(np.float32)
    contents_NP = unit_rows(np.repeat(centres, 100, axis=0) + rng.normal(scale=0.1, size=(3000, 8)).astype(np.float32))
    vectors_ND = np.repeat(rng.normal(size=(30, 4)).astype(np.float32), 100, axis=0)
    features_ME = centres + rng.normal(scale=0.05, size=(30, 8)).astype(np.float32)
    exact = ContentNeighbours(np.eye(8, dtype=np.float32), contents_NP, vectors_ND).vectors(features_ME)
    monkeypatch.setattr("rqrec.models.items.content_neighbours.COMPARED_ALL", 1000)
    monkeypatch.setattr("rqrec.models.items.content_neighbours.COMPARED", 300)
    few = ContentNeighbours(np.eye(8, dtype=np.float32), contents_NP, vectors_ND).vectors(features_ME)
    np.testing.assert_allclose(few, exact, atol=1e-3)


@pytest.mark.parametrize("feature", [0.0, 1e-38, 1.0, LARGEST_FEATURE, 1e7, 1e15, 3.4e38])
def test_the_largest_numbers_of_a_bundle_and_of_an_item_give_a_finite_vector(feature: float) -> None:
    projection_EP = np.full((10_000, 128), LARGEST_PROJECTION, dtype=np.float32)
    contents_NP = np.full((30, 128), LARGEST_CONTENT, dtype=np.float32)
    neighbours = ContentNeighbours(projection_EP, contents_NP, np.full((30, 128), LARGEST_VECTOR, dtype=np.float32))
    with np.errstate(all="raise", under="ignore"):
        vectors_MD = neighbours.vectors(np.full((1, 10_000), feature, dtype=np.float32))
    assert np.isfinite(vectors_MD).all()


def test_each_part_of_a_vector_keeps_its_share_of_the_length() -> None:
    content_NP, features_ME = np.ones((2, 1), dtype=np.float32), np.ones((1, 1), dtype=np.float32)
    # The first parts of both neighbours agree, and their second parts do not.
    vectors_NW = np.array([[2, 0, 2, 0], [4, 0, 0, 4]], dtype=np.float32)
    neighbours = ContentNeighbours(np.eye(1, dtype=np.float32), content_NP, vectors_NW, part_widths=(2, 2))
    np.testing.assert_allclose(neighbours.vectors(features_ME), [[3, 0, 3 * 0.5**0.5, 3 * 0.5**0.5]], rtol=1e-6)
