from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from models.trie import SemanticIdTrie
from service.filters import Filters, InvalidFilter
from service.schemas import Condition
from service.telemetry import Metrics

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
TRIE = SemanticIdTrie.build(np.arange(4)[:, None], codebook_size=4)


def passing(**conditions: dict[str, Any]) -> list[str]:
    filters = Filters(ITEMS, TRIE, Metrics(), cache_bytes=1 << 20)
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
    one_answer = Filters(ITEMS, TRIE, metrics, cache_bytes=1 << 20).eligibility(condition).nbytes
    filters = Filters(ITEMS, TRIE, metrics, cache_bytes=one_answer)
    first = filters.eligibility(condition)
    assert filters.eligibility({"year": Condition(gte=2000)}) is first
    filters.eligibility({"year": Condition(gte=1990)})
    assert filters.eligibility(condition) is not first
    hits = metrics.registry.get_sample_value("rqrec_cache_requests_total", {"tier": "filter", "result": "hit"})
    assert hits == 1


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
def test_k_come_back_whenever_k_pass(ask: Callable[..., Any], allowed: set[int], excluded: set[int], k: int) -> None:
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
        ({"genres": {}}, "/filter/genres", "give at least one of"),
        ({"genres": {"gte": None}}, "/filter/genres", "give at least one of"),
        ({"genres": {"any": ["x"]}}, "/filter/genres/any", "Extra inputs"),
        ({"genres": {"any_of": []}}, "/filter/genres/any_of", "at least 1"),
    ],
)
def test_a_bad_filter_is_told_with_its_place(
    ask: Callable[..., Any], bad: dict[str, Any], pointer: str, detail: str
) -> None:
    response = ask(filter=bad)
    assert response.status_code == 422
    problem = response.json()
    assert problem["type"] == "invalid-request"
    assert problem["errors"][0]["pointer"] == pointer
    assert detail in problem["errors"][0]["detail"]
