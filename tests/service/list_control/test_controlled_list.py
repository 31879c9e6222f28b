import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rqrec.models.array_types import IntArray
from rqrec.models.growing_array import GrowingArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.ranking import Ranking
from rqrec.models.trie.trie import NO_LEAF, SemanticIdTrie
from rqrec.models.vector_index import unit_rows
from rqrec.service.catalogue.filter_conditions import FilterTerm
from rqrec.service.catalogue.filters import Filters
from rqrec.service.catalogue.item import Item
from rqrec.service.catalogue.item_table import ItemTable
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.contract.filter import Condition
from rqrec.service.contract.recommend import RecommendRequest
from rqrec.service.list_control.candidate_finder import CandidateFinder
from rqrec.service.list_control.controlled_list import ControlledList, beam_width_of, controlled_list
from rqrec.service.search.candidate_search import CandidateSearch
from rqrec.service.telemetry import Metrics
from tests.service.list_control.brute_force import Film, brute_force

GENRES = ("War", "Drama", "Comedy", "Horror")
FILMS, WRITTEN, WIDTH, COMPARED = 24, 3, 5, 4


def made_snapshot() -> tuple[Snapshot, list[dict[str, Any]]]:
    """A catalogue of 24 films of a bundle and 3 written ones, each with 0 to 3 genres and perhaps a studio."""
    rng = np.random.default_rng(5)
    rows: list[dict[str, Any]] = [
        {
            "item_id": f"film {number}",
            "genres": None if number % 9 == 8 else [*rng.choice(GENRES, size=rng.integers(0, 4)).tolist()],
            "studio": (None, "Pixar", "Ghibli")[number % 3],
            "year": 1990 + number % 7,
        }
        for number in range(FILMS + WRITTEN)
    ]
    items = pl.DataFrame(rows[:FILMS])
    trie = SemanticIdTrie.build(np.arange(FILMS)[:, None], codebook_size=FILMS)
    bundled = ItemTable.from_bundle(items, trie)
    written = [
        Item(row["item_id"], json.dumps({key: row[key] for key in row if key != "item_id"})) for row in rows[FILMS:]
    ]
    table = bundled.with_changes([], written, np.arange(WRITTEN)[:, None], np.full(WRITTEN, NO_LEAF))
    filters = Filters(items, bundled, Metrics(), cache_bytes=1 << 20).with_table(table, lambda one: one)
    vectors = rng.normal(size=(FILMS + WRITTEN, WIDTH)).astype(np.float32)
    return Snapshot(
        "1", 1, table, cast("Any", None), filters, GrowingArray(vectors), COMPARED, GrowingArray(vectors[FILMS:])
    ), rows


SNAPSHOT, ROWS = made_snapshot()
UNITS: NDArray[np.float32] = unit_rows(SNAPSHOT.item_vectors.rows[:, :COMPARED])
EVERYTHING = Eligibility.from_mask(SNAPSHOT.trie, np.ones(FILMS, dtype=np.bool_), np.ones(WRITTEN, dtype=np.bool_))
IDS = [row["item_id"] for row in ROWS]


class ExactSearch:
    """Finds the best eligible films by given scores, and counts its calls."""

    def __init__(self, scores_P: NDArray[np.float32]) -> None:
        self.scores_P = scores_P
        self.calls = 0

    async def best(
        self, eligibility: Eligibility, excluded: IntArray, *, k: int, beam_width: int, further: int = 0
    ) -> Ranking:
        assert beam_width >= k
        self.calls += 1
        order = np.argsort(-self.scores_P, kind="stable")
        order = order[eligibility.allows(order) & ~np.isin(order, excluded)][: k + further]
        return Ranking(order, self.scores_P[order] - 1, self.scores_P[order])


async def filtered(conditions: Mapping[str, Condition], further: Sequence[FilterTerm]) -> Eligibility:
    return SNAPSHOT.filters.eligibility(conditions, further) if conditions or further else EVERYTHING


def controlled(
    request: RecommendRequest, search: ExactSearch, excluded: IntArray, *, width: int, further: int = 0
) -> ControlledList:
    async def scenario() -> ControlledList:
        eligibility = await filtered(request.filter, ())
        beam_width = beam_width_of(request, width)
        candidates = cast("CandidateSearch", search)
        finder = CandidateFinder(candidates, request.filter, eligibility, filtered, beam_width, further)
        return await controlled_list(request, SNAPSHOT, finder, excluded)

    return asyncio.run(scenario())


def meets(row: Mapping[str, Any], conditions: Mapping[str, Condition]) -> bool:
    def has_one(name: str, values: Sequence[object]) -> bool:
        value = row[name]
        return any(one in values for one in (value if isinstance(value, list) else [value]) if one is not None)

    return all(
        (one.any_of is None or has_one(name, one.any_of))
        and (one.none_of is None or not has_one(name, one.none_of))
        and (one.gte is None or row[name] >= one.gte)
        for name, one in conditions.items()
    )


def expected(request: RecommendRequest, scores_P: NDArray[np.float32], excluded: IntArray) -> list[str]:
    films = []
    for place, row in enumerate(ROWS):
        boost = sum(math.log(one.factor) for one in request.boosts if meets(row, one.filter))
        values = {name: [*row[name]] if isinstance(row[name], list) else [row[name]] for name in request.caps}
        values = {name: [one for one in some if one is not None] for name, some in values.items()}
        films.append(Film(row["item_id"], float(np.float32(scores_P[place] + boost)), values, UNITS[place]))
    may_come = [
        films[place]
        for place in np.argsort(-scores_P, kind="stable").tolist()
        if place not in excluded.tolist() and meets(ROWS[place], request.filter)
    ]
    may_come.sort(key=lambda one: -one.score)
    pinned = {pin.rank: films[IDS.index(pin.item_id)] for pin in request.pins if pin.item_id in IDS}
    return brute_force(may_come, pinned, k=request.k, caps=request.caps, diversity=request.diversity)


CONDITIONS = st.sampled_from(
    [
        {"genres": {"any_of": ["War"]}},
        {"genres": {"any_of": ["Drama", "Horror"]}},
        {"studio": {"none_of": ["Pixar"]}},
        {"year": {"gte": 1993}, "studio": {"any_of": ["Ghibli"]}},
    ]
)
BOOSTS = st.lists(
    st.fixed_dictionaries({"filter": CONDITIONS, "factor": st.sampled_from([0.1, 1.0, 1.5, 20.0])}), max_size=3
)


@st.composite
def requests(draw: st.DrawFn) -> RecommendRequest:
    k = draw(st.integers(1, 12))
    ranks = draw(st.lists(st.integers(1, k), unique=True, max_size=3))
    pinned = draw(st.permutations([*IDS, "unheard-of"]))
    body = {
        "history": [],
        "k": k,
        "filter": draw(st.just({}) | CONDITIONS),
        "caps": draw(st.dictionaries(st.sampled_from(["genres", "studio", "year"]), st.integers(1, 3), max_size=2)),
        "boosts": draw(BOOSTS),
        "pins": [{"item_id": item_id, "rank": rank} for item_id, rank in zip(pinned, ranks, strict=False)],
        "diversity": draw(st.sampled_from([0.0, 0.0, 0.3, 0.8, 1.0])),
    }
    return RecommendRequest.model_validate(body)


@given(
    request=requests(),
    scores=st.permutations(range(FILMS + WRITTEN)),
    excluded=st.sets(st.integers(0, FILMS + WRITTEN - 1), max_size=8),
    width=st.integers(1, FILMS + WRITTEN),
    further=st.sampled_from([0, 5, FILMS + WRITTEN]),
)
def test_a_list_is_that_of_brute_force(
    request: RecommendRequest, scores: list[int], excluded: set[int], width: int, further: int
) -> None:
    scores_P, barred = (
        np.array([score / 2 - 9 for score in scores], dtype=np.float32),
        np.array(sorted(excluded), dtype=np.int64),
    )
    everything = FILMS + WRITTEN
    if further < everything and request.boosts and (request.caps or request.diversity or len(request.boosts) > 1):
        width = everything  # several boosts may lift an item that is no candidate of a narrow search
    search = ExactSearch(scores_P)
    made = controlled(request, search, barred, width=width, further=further)
    listed = [IDS[place] for place in made.best.ranking.leaves_K.tolist()]
    assert listed == expected(request, scores_P, barred)
    assert search.calls <= request.k
    known = {pin.item_id for pin in request.pins} & set(IDS)
    assert {one for one, is_pinned in zip(listed, made.best.is_pinned_K, strict=True) if is_pinned} == known
    assert made.unknown_pins == [pin.item_id for pin in request.pins if pin.item_id not in IDS]
    assert not (made.full_values and len(listed) == request.k)


def test_further_items_spare_another_search() -> None:
    scores_P, caps = -np.arange(FILMS + WRITTEN, dtype=np.float32), {"studio": 1}
    request = RecommendRequest.model_validate({"history": [], "k": 9, "caps": caps})
    narrow, longer = ExactSearch(scores_P), ExactSearch(scores_P)
    lists = [
        controlled(request, search, np.empty(0, np.int64), width=9, further=further).best.ranking.leaves_K.tolist()
        for search, further in ((narrow, 0), (longer, FILMS))
    ]
    assert lists[0] == lists[1]
    assert (narrow.calls, longer.calls) == (2, 1)


def test_boosted_items_beyond_the_beam_join() -> None:
    scores_P = -np.arange(FILMS + WRITTEN, dtype=np.float32)
    boosts = [{"filter": {"item_id": {"any_of": [IDS[20], IDS[FILMS]]}}, "factor": 1000.0}] * 3
    request = RecommendRequest.model_validate({"history": [], "k": 3, "boosts": boosts})
    made = controlled(request, ExactSearch(scores_P), np.empty(0, np.int64), width=3)
    assert made.best.ranking.leaves_K.tolist() == [20, 0, 1]
    assert made.best.ranking.scores_K[0] == np.float32(-20 + 3 * math.log(1000))


def test_items_join_that_rise_because_others_are_lowered() -> None:
    scores_P = -np.arange(FILMS + WRITTEN, dtype=np.float32)
    lowered = {"filter": {"item_id": {"any_of": IDS[:10]}}, "factor": 0.001}
    request = RecommendRequest.model_validate({"history": [], "k": 3, "boosts": [lowered] * 2})
    made = controlled(request, ExactSearch(scores_P), np.empty(0, np.int64), width=3)
    assert made.best.ranking.leaves_K.tolist() == [10, 11, 12]


def test_a_full_value_is_named_where_places_stay_open() -> None:
    request = RecommendRequest.model_validate({"history": [], "k": 27, "caps": {"studio": 2, "genres": 100}})
    made = controlled(request, ExactSearch(-np.arange(27, dtype=np.float32)), np.empty(0, np.int64), width=5)
    assert made.full_values == {"studio": ["Pixar", "Ghibli"]}
    assert len(made.best.ranking.leaves_K) == 9 + 2 + 2


def test_only_a_pinned_item_that_was_found_has_a_score() -> None:
    pins = [{"item_id": IDS[0], "rank": 2}, {"item_id": IDS[20], "rank": 1}]
    request = RecommendRequest.model_validate({"history": [], "k": 4, "pins": pins})
    made = controlled(request, ExactSearch(-np.arange(27, dtype=np.float32)), np.empty(0, np.int64), width=4)
    assert made.best.ranking.leaves_K.tolist() == [20, 0, 1, 2]
    assert np.isnan(made.best.ranking.scores_K[0])
    assert made.best.ranking.scores_K[1:].tolist() == [0, -1, -2]


def test_a_cancelled_request_asks_no_more() -> None:
    class WaitingSearch(ExactSearch):
        async def best(self, *args: Any, **options: Any) -> Ranking:
            if self.calls:
                waiting.set()
                await asyncio.Event().wait()
            return await super().best(*args, **options)

    waiting = asyncio.Event()
    search = WaitingSearch(-np.arange(FILMS + WRITTEN, dtype=np.float32))
    request = RecommendRequest.model_validate({"history": [], "k": 9, "caps": {"studio": 1}})

    async def scenario() -> None:
        finder = CandidateFinder(cast("CandidateSearch", search), {}, EVERYTHING, filtered, 2)
        task = asyncio.create_task(controlled_list(request, SNAPSHOT, finder, np.empty(0, np.int64)))
        await asyncio.wait_for(waiting.wait(), 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    asyncio.run(scenario())
    assert search.calls == 1
