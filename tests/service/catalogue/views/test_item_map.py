import pytest

from rqrec.models.bundle.bundle import Bundle
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.catalogue.views.item_map import Points, read_points
from rqrec.service.errors import InvalidPart


def by_id(points: Points) -> dict[str, tuple[float, ...]]:
    return {item_id: tuple(place) for item_id, place in zip(points.item_ids, points.places_M2.tolist(), strict=True)}


def test_each_item_has_its_place_its_first_code_and_one_value(published: Snapshot, bundle: Bundle) -> None:
    assert bundle.map is not None
    points = read_points(published.table, bundle, limit=64, attribute="genres")
    rows = [bundle.items["item_id"].to_list().index(one) for one in points.item_ids]
    assert sorted(rows) == list(range(64))
    assert (points.places_M2 == bundle.map.places_R2[rows]).all()
    assert (points.codes_M == bundle.learned.codes_RL[rows, 0]).all()
    assert points.values == bundle.items["genres"].list.first()[rows].to_list()
    assert read_points(published.table, bundle, limit=64, attribute=None).values == []


def test_written_items_keep_their_place_with_new_values_and_deleted_ones_go(
    published: Snapshot, written: Snapshot, bundle: Bundle
) -> None:
    before = by_id(read_points(published.table, bundle, limit=64, attribute=None))
    points = read_points(written.table, bundle, limit=64, attribute="year")
    after = by_id(points)
    assert after == {item_id: place for item_id, place in before.items() if item_id != "101"}
    number = points.item_ids.index("100")
    assert points.values[number] == 7
    assert points.codes_M[number] == written.table.codes_of(written.table.find(["100"]))[0, 0]


def test_a_sample_is_always_the_same_grows_and_begins_with_the_asked_items(written: Snapshot, bundle: Bundle) -> None:
    small, large = (
        read_points(written.table, bundle, limit=limit, attribute="title", item_ids=["163", "101", "new", "?", "100"])
        for limit in (5, 20)
    )
    assert small.item_ids[:2] == ["163", "100"]  # deleted and unknown ones are not on the map
    assert (len(small.item_ids), len(set(large.item_ids))) == (7, 22)
    assert set(small.item_ids) < set(large.item_ids)
    with pytest.raises(InvalidPart, match="expected one of .*'title'.*, got 'colour'"):
        read_points(written.table, bundle, limit=5, attribute="colour")
