"""Items like one, in random states of a catalogue, against the comparison of all items."""

import numpy as np
import pytest
from numpy.typing import NDArray

from rqrec.models import nearest_vectors
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.browse.similar import By, SimilarItems
from rqrec.service.browse.spaces import Contents, LearnedVectors
from rqrec.service.catalogue.snapshot import Snapshot
from tests.service.browse.changing_catalogue import HORROR, states


class Slow:
    """Compares every item, one after the other, from what the entries and the bundle say of it."""

    def __init__(self, snapshot: Snapshot, bundle: Bundle, tokenizer: ItemTokenizer) -> None:
        self.codes: dict[str, tuple[int, ...]] = {}
        self.vectors: dict[str, NDArray[np.floating]] = {}
        self.contents: dict[str, NDArray[np.floating]] = {}
        self.genres: dict[str, list[str]] = {}
        row_of_id = {item_id: row for row, item_id in enumerate(bundle.items["item_id"])}
        for place in snapshot.table.places:
            (item,) = snapshot.table.items(np.array([place]))
            self.codes[item.item_id] = tuple(snapshot.table.codes_of(np.array([place]))[0].tolist())
            self.genres[item.item_id] = item.attributes["genres"]
            entry, row = snapshot.entries.get(item.item_id), row_of_id.get(item.item_id)
            if row is not None:
                self.contents[item.item_id] = bundle.contents_RP[row]
                self.vectors[item.item_id] = bundle.learned.vectors_RD[row]
            if entry is not None:
                features_1E = np.frombuffer(entry.put.features, dtype=np.float32)[None]
                self.contents[item.item_id] = tokenizer.contents(features_1E)[0]
                if row is None or not tokenizer.is_known_R[row]:
                    self.vectors[item.item_id] = tokenizer.vectors(features_1E)[0]

    def scores(self, item_id: str, by: By) -> dict[str, tuple[int, float]]:
        of = self.contents if by == "content" else self.vectors
        return {
            other: (self.shared(item_id, other) if by == "prefix" else 0, cosine(of[item_id], of[other]))
            for other in of
        }

    def shared(self, one: str, other: str) -> int:
        pairs = zip(self.codes[one], self.codes[other], strict=True)
        return next((length for length, (a, b) in enumerate(pairs) if a != b), len(self.codes[one]))


def cosine(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    one, other = one.astype(np.float64), other.astype(np.float64)
    return float(one @ other / max(np.linalg.norm(one) * np.linalg.norm(other), 1e-300))


@pytest.mark.parametrize("by", ["vector", "content", "prefix"])
def test_the_most_similar_items_are_those_of_brute_force(
    published: Snapshot,
    tokenizer: ItemTokenizer,
    bundle: Bundle,
    by: By,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nearest_vectors, "COMPARED_ALL", 10)  # more are found by their codes, as in a large catalogue
    monkeypatch.setattr(nearest_vectors, "STRIPES", 1)
    vectors, contents = LearnedVectors(published), Contents(published, bundle.contents_RP)
    similar = SimilarItems(vectors, contents)
    series = states(published, tokenizer)
    assert len(series[-1].table.rows) > series[-1].table.num_live_rows  # some rows hold nothing any more
    for snapshot in (*series, series[2], series[-1]):  # an older state may be asked after a newer one
        slow = Slow(snapshot, bundle, tokenizer)
        for conditions in ({}, HORROR):
            eligible = snapshot.filters.eligibility(conditions) if conditions else snapshot.recommender.everything
            for item_id in [*slow.codes][::7]:
                (place,) = snapshot.table.find([item_id])
                found = similar.find(snapshot, place, by, 9, eligible)
                ids = [item.item_id for item in snapshot.table.items(found.places_K)]
                scores = slow.scores(item_id, by)
                allowed = [one for one in scores if one != item_id and (not conditions or "Horror" in slow.genres[one])]
                expected = sorted((scores[one] for one in allowed), reverse=True)[:9]
                assert len(set(ids)) == len(expected)
                assert set(ids) <= set(allowed)
                assert [scores[one][0] for one in ids] == [shared for shared, _ in expected]
                np.testing.assert_allclose(found.scores_K, [cosine for _, cosine in expected], atol=1e-6)
                np.testing.assert_allclose(found.scores_K, [scores[one][1] for one in ids], atol=1e-6)
