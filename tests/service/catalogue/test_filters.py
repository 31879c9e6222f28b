import gc
import math
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.service.catalogue.filter_conditions import InvalidFilter
from rqrec.service.catalogue.filters import BYTES_BESIDE_ARRAYS, KEY_BYTES, Filters, filter_key
from rqrec.service.catalogue.item import as_shown
from rqrec.service.catalogue.item_table import ItemTable
from rqrec.service.contract.filter import MAX_FILTER_VALUES, Condition
from rqrec.service.telemetry import Metrics

ITEMS = pl.DataFrame(
    {
        "item_id": ["a", "b", "c", "d"],
        "genres": [["Comedy", "War"], ["War"], [], None],
        "year": [1990, 2001, None, 2010],
        "studio": ["Ghibli", None, "Pixar", "Pixar"],
        "colour": [True, False, None, True],
        "score": [0.5, 2.0, None, 3.25],
        "size": [{"cm": 1}] * 4,
    }
)
TABLE = ItemTable.from_bundle(ITEMS, SemanticIdTrie.build(np.arange(4)[:, None], codebook_size=4))


def passing(**conditions: dict[str, Any]) -> list[str]:
    filters = Filters(ITEMS, TABLE, Metrics(), cache_bytes=1 << 20)
    eligibility = filters.eligibility({name: Condition.model_validate(value) for name, value in conditions.items()})
    return [ITEMS["item_id"][leaf] for leaf in range(4) if eligibility.allows(np.array([leaf]))[0]]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"genres": {"any_of": ["War", "Horror"]}}, ["a", "b"]),
        ({"genres": {"none_of": ["Comedy"]}}, ["b", "c", "d"]),
        ({"genres": {"any_of": ["War"], "none_of": ["Comedy"]}}, ["b"]),
        ({"year": {"gte": 2001}}, ["b", "d"]),
        ({"year": {"gte": 1990, "lte": 2001}}, ["a", "b"]),
        ({"year": {"any_of": [1990, 2010]}}, ["a", "d"]),
        ({"studio": {"any_of": ["Pixar"]}, "year": {"lte": 2020}}, ["d"]),
        ({"studio": {"none_of": ["Pixar"]}}, ["a", "b"]),
        ({"colour": {"any_of": [True]}}, ["a", "d"]),
        ({"item_id": {"any_of": ["c", "a", "unheard-of"]}}, ["a", "c"]),
        ({"genres": {"any_of": ["Opera"]}}, []),
        ({"year": {"any_of": [1990.5, 2001.0, 10**40]}}, ["b"]),
        ({"score": {"any_of": [2, 0.5]}}, ["a", "b"]),
        ({"studio": {"any_of": ["\ud800", "Pixar"]}}, ["c", "d"]),
    ],
)
def test_conditions(conditions: dict[str, dict[str, Any]], expected: list[str]) -> None:
    assert passing(**conditions) == expected


@pytest.mark.parametrize(
    ("conditions", "place", "message"),
    [
        (
            {"director": {"any_of": ["x"]}},
            ("director",),
            "the catalogue's are .*'genres', 'item_id', .*'studio', 'year'",
        ),
        ({"semantic_id": {"any_of": [1]}}, ("semantic_id",), "unknown attribute"),
        ({"year": {"any_of": ["1990"]}}, ("year", "any_of"), "'year' holds numbers, got '1990'"),
        ({"genres": {"none_of": [3]}}, ("genres", "none_of"), "'genres' holds strings, got 3"),
        ({"colour": {"any_of": [1]}}, ("colour", "any_of"), "'colour' holds true or false, got 1"),
        ({"size": {"any_of": ["1"]}}, ("size", "any_of"), "holds neither strings nor numbers nor true or false"),
        ({"genres": {"gte": 3}}, ("genres", "gte"), "'genres' holds no numbers"),
    ],
)
def test_refuses_what_the_catalogue_cannot_answer(
    conditions: dict[str, dict[str, Any]], place: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InvalidFilter, match=message) as refused:
        passing(**conditions)
    assert refused.value.place == place


def test_answers_are_kept_until_the_cache_is_full() -> None:
    metrics = Metrics()
    condition = {"year": Condition(gte=2000)}
    one = Filters(ITEMS, TABLE, Metrics(), cache_bytes=1 << 20)
    one.eligibility(condition)
    filters = Filters(ITEMS, TABLE, metrics, cache_bytes=one.cached_bytes)
    first = filters.eligibility(condition)
    assert filters.eligibility({"year": Condition(gte=2000)}) is first
    filters.eligibility({"year": Condition(gte=1990)})
    assert filters.eligibility(condition) is not first
    hits = metrics.registry.get_sample_value("rqrec_cache_requests_total", {"tier": "filter", "result": "hit"})
    assert hits == 1


NUMBERS = as_shown(
    pl.DataFrame(
        {
            "item_id": ["a", "b", "c"],
            "single": pl.Series([9.99, 0.1, 16777216.0], dtype=pl.Float32),
            "double": pl.Series([9.99, 0.1, 2.0**53], dtype=pl.Float64),
            "decimal": pl.Series([Decimal("9.99"), Decimal("0.10"), Decimal(3)]),
            "singles": pl.Series([[9.99, 1.5], [0.1], None], dtype=pl.List(pl.Float32)),
            "whole": pl.Series([2**53 + 1, 2**53, 3], dtype=pl.Int64),
        }
    )
)


@pytest.mark.parametrize("name", ["single", "double", "decimal", "singles"])
@pytest.mark.parametrize("row", [0, 1])
def test_a_number_is_found_as_its_payload_shows_it(name: str, row: int) -> None:
    table = ItemTable.from_bundle(NUMBERS, SemanticIdTrie.build(np.arange(3)[:, None], codebook_size=4))
    filters = Filters(NUMBERS, table, Metrics(), cache_bytes=1 << 20)

    def ids(**condition: Any) -> list[str]:
        eligibility = filters.eligibility({name: Condition.model_validate(condition)})
        return [item.item_id for item in table.items(table.places[eligibility.allows(table.places)])]

    shown = table.bundle_items[row].attributes[name]
    number = shown[0] if isinstance(shown, list) else shown
    item_id = table.bundle_items[row].item_id
    assert number == [9.99, 0.1][row]
    assert ids(any_of=[number]) == [item_id]
    assert item_id not in ids(none_of=[number])
    assert ids(any_of=[math.nextafter(number, 10)]) == []
    if name != "singles":
        assert item_id in ids(gte=number)
        assert item_id in ids(lte=number)
        assert item_id not in ids(gte=math.nextafter(number, 10))
        assert item_id not in ids(lte=math.nextafter(number, 0))


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"whole": {"any_of": [2**53]}}, ["b"]),
        ({"whole": {"any_of": [float(2**53)]}}, ["b"]),
        ({"whole": {"gte": 2.5, "lte": 3.5}}, ["c"]),
        ({"whole": {"gte": 1e300}}, []),
        ({"whole": {"gte": -1e300, "lte": 1e300}}, ["a", "b", "c"]),
        ({"double": {"any_of": [2**53]}}, ["c"]),
        ({"double": {"any_of": [2**53 + 1]}}, []),
        ({"single": {"any_of": [16777216]}}, ["c"]),
        ({"single": {"any_of": [16777217]}}, []),
    ],
)
def test_whole_numbers_and_floats_compare_exactly(conditions: dict[str, dict[str, Any]], expected: list[str]) -> None:
    table = ItemTable.from_bundle(NUMBERS, SemanticIdTrie.build(np.arange(3)[:, None], codebook_size=4))
    filters = Filters(NUMBERS, table, Metrics(), cache_bytes=1 << 20)
    eligibility = filters.eligibility({name: Condition.model_validate(value) for name, value in conditions.items()})
    passing = table.places[eligibility.allows(table.places)]
    assert [item.item_id for item in table.items(passing)] == expected


@pytest.mark.parametrize(
    "condition",
    [
        lambda number: {"studio": Condition(any_of=[str(number) + "x" * 900_000])},
        lambda number: {"studio": Condition(any_of=[f"{number} {other}" for other in range(5000)])},
        lambda number: {"year": Condition(any_of=[10**99 + number * 10**9 + other for other in range(5000)])},
    ],
)
def test_the_cache_counts_all_memory_of_a_filter(condition: Callable[[int], dict[str, Condition]]) -> None:
    filters = Filters(ITEMS, TABLE, Metrics(), cache_bytes=1 << 20)
    filters.eligibility(condition(0))
    gc.collect()
    tracemalloc.start()
    for number in range(1, 13):
        filters.eligibility(condition(number))
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1 << 20
    assert filters.cached_bytes <= 1 << 20
    assert filters.cached_bytes >= 13 * BYTES_BESIDE_ARRAYS


def test_a_key_is_equal_for_equal_conditions_only() -> None:
    def key(**conditions: dict[str, Any]) -> bytes:
        return filter_key({name: Condition.model_validate(value) for name, value in conditions.items()})

    one = key(year={"any_of": [1, 2, 2], "gte": 1}, studio={"none_of": ["a", "b"]})
    assert one == key(studio={"none_of": ["b", "a"]}, year={"gte": 1, "any_of": [2, 1]})
    others = [
        key(year={"any_of": [1, 2]}, studio={"none_of": ["a", "b"]}),
        key(year={"none_of": [1, 2], "gte": 1}, studio={"none_of": ["a", "b"]}),
        key(year={"any_of": [1, 2], "lte": 1}, studio={"none_of": ["a", "b"]}),
        key(colour={"any_of": [True]}),
        key(colour={"any_of": [1]}),
        key(colour={"any_of": ["True"]}),
        key(studio={"any_of": ["\ud800"]}),
        key(studio={"any_of": ["a', 'b"]}),
        key(studio={"any_of": ["a", "b"]}),
    ]
    assert len({one, *others}) == 1 + len(others)
    assert {len(other) for other in (one, key(studio={"any_of": ["x" * 10**6]}))} == {KEY_BYTES}


def test_a_filter_has_a_bounded_number_of_values() -> None:
    half = [*range(MAX_FILTER_VALUES // 2)]
    assert passing(year={"any_of": half}, score={"none_of": half})
    with pytest.raises(InvalidFilter, match="at most 10000 values in all") as refused:
        passing(year={"any_of": half}, score={"none_of": [*half, -1]})
    assert refused.value.place == ("score", "none_of")


@pytest.fixture(scope="module")
def ask(plain_client: TestClient) -> Callable[..., Any]:
    def post(**body: Any) -> Any:
        return plain_client.post("/recommend", json={"history": ["116", "117"], **body})

    return post


def test_only_items_that_pass_come_back(ask: Callable[..., Any]) -> None:
    reply = ask(filter={"genres": {"any_of": ["War"]}}, k=20).json()
    assert [item["payload"]["genres"] for item in reply["items"]] == [["War"]] * 16
    assert reply["eligible_items"] == 16
    unfiltered = {item["item_id"]: item["log_prob"] for item in ask(k=64, beam_width=64).json()["items"]}
    for item in ask(filter={"genres": {"any_of": ["War"]}}, k=20, beam_width=64).json()["items"]:
        assert item["log_prob"] == pytest.approx(unfiltered[item["item_id"]], abs=1e-4)


@given(
    allowed=st.sets(st.integers(100, 163), max_size=64),
    excluded=st.sets(st.integers(100, 163), max_size=64),
    k=st.integers(1, 64),
)
def test_k_items_return_if_k_pass(ask: Callable[..., Any], allowed: set[int], excluded: set[int], k: int) -> None:
    ids = [*map(str, allowed), "none"]
    reply = ask(filter={"item_id": {"any_of": ids}}, exclude=[*map(str, excluded)], k=k).json()
    left = {str(item) for item in allowed - excluded - {116, 117}}
    returned = [item["item_id"] for item in reply["items"]]
    assert reply["eligible_items"] == len(left)
    assert len(returned) == len(set(returned)) == min(k, len(left))
    assert set(returned) <= left


def test_filters_hold_for_the_popular_fallback(ask: Callable[..., Any]) -> None:
    reply = ask(history=[], filter={"genres": {"any_of": ["Romance"]}}, k=64).json()
    assert reply["fallback"] == "popular"
    assert len(reply["items"]) == 16
    assert all(item["payload"]["genres"] == ["Romance"] for item in reply["items"])


@pytest.mark.parametrize(
    ("bad", "pointer", "detail"),
    [
        ({"maker": {"any_of": ["x"]}}, "/filter/maker", "unknown attribute"),
        ({"genres": {"any_of": [1]}}, "/filter/genres/any_of", "holds strings"),
        ({"genres": {}}, "/filter/genres", "expected at least one of"),
        ({"genres": {"gte": None}}, "/filter/genres", "expected at least one of"),
        ({"genres": {"any": ["x"]}}, "/filter/genres/any", "Extra inputs"),
        ({"genres": {"any_of": []}}, "/filter/genres/any_of", "at least 1"),
    ],
)
def test_an_error_names_the_place_of_a_bad_filter(
    ask: Callable[..., Any], bad: dict[str, Any], pointer: str, detail: str
) -> None:
    response = ask(filter=bad)
    assert response.status_code == 422
    problem = response.json()
    assert problem["type"] == "invalid-request"
    assert problem["errors"][0]["pointer"] == pointer
    assert detail in problem["errors"][0]["detail"]
