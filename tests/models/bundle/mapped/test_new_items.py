from pathlib import Path

import numpy as np
import pytest

from rqrec.models.bundle.layout import NEW_ITEMS, NEW_VECTORS
from rqrec.models.bundle.mapped.new_items import read_new_items, write_new_items
from rqrec.models.search.new import new_item_index
from rqrec.models.search.new.new_item_index import NewItemIndex

POPULARITY_N = np.arange(60) % 3  # every third item is new
VECTORS_ND = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)


def test_a_mapped_index_is_the_one_that_a_start_would_make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(new_item_index, "COMPARED_ALL", 8)
    write_new_items(tmp_path, POPULARITY_N, VECTORS_ND)
    found = read_new_items(tmp_path, popularity_N=POPULARITY_N, width=4)
    leaves_M = np.flatnonzero(POPULARITY_N == 0)
    expected = NewItemIndex.from_vectors(leaves_M, VECTORS_ND[leaves_M])
    for index in (found, expected):
        assert index is not None
        index = index.with_added(np.array([60]), VECTORS_ND[:1])  # noqa: PLW2901 - there is room for more
        assert index.places.rows.tolist() == [*expected.places.rows.tolist(), 60]
        assert index.units.rows[:20].tolist() == expected.units.rows.tolist()
        assert index.clusters is not None
        assert expected.clusters is not None
        assert index.clusters.rows(VECTORS_ND[0], 5).tolist() == expected.clusters.rows(VECTORS_ND[0], 5).tolist()


def test_few_new_items_have_no_mapped_index(tmp_path: Path) -> None:
    write_new_items(tmp_path, POPULARITY_N, VECTORS_ND)
    assert read_new_items(tmp_path, popularity_N=POPULARITY_N, width=4) is None


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        (NEW_ITEMS[0], lambda array: array + 1, "nobody chose"),
        (NEW_ITEMS[1], lambda array: array[:, 1:], "centroids of width 4"),
        (NEW_ITEMS[1], lambda array: array * np.float32(np.nan), "finite"),
        (NEW_ITEMS[2], lambda array: array[::-1], "ascending"),
        (NEW_ITEMS[2], lambda array: array + np.uint16(9), "clusters below"),
        (NEW_VECTORS, lambda array: array[1:], "20 float32 vectors"),
    ],
)
def test_wrong_values_are_refused(
    name: str, change: object, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(new_item_index, "COMPARED_ALL", 8)
    write_new_items(tmp_path, POPULARITY_N, VECTORS_ND)
    assert callable(change)
    np.save(tmp_path / name, change(np.load(tmp_path / name)))
    with pytest.raises(ValueError, match=reason):
        read_new_items(tmp_path, popularity_N=POPULARITY_N, width=4)
