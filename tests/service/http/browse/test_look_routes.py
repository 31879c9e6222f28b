"""Items like one, search by words and attributes over HTTP, also of items that were just written."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from benchmarks.support.running import RedisServer
from rqrec.models.bundle.bundle import Bundle
from rqrec.service.app import create_app
from rqrec.service.contract.browse import AttributesReply, SearchReply, SimilarReply
from tests.service.conftest import settings_for
from tests.text_encoders import with_text_encoder

WAR = {"genres": {"any_of": ["War"]}}


@pytest.fixture
def writable(bundle: Bundle, redis_server: RedisServer, tmp_path: Path) -> Iterator[TestClient]:
    """A service with a text encoder, whose items can be written."""
    fields = {"admin_token": "t", "redis_url": redis_server.url, "redis_timeout_s": 2.0}
    settings = settings_for(with_text_encoder(bundle, tmp_path / "bundle"), **fields)
    with TestClient(create_app(settings), headers={"Authorization": "Bearer t"}) as client:
        yield client


def similar(client: TestClient, item_id: str, **query: Any) -> SimilarReply:
    return SimilarReply.model_validate(client.get(f"/items/{item_id}/similar", params=query).raise_for_status().json())


def search(client: TestClient, query: str, **fields: Any) -> SearchReply:
    body = client.post("/search", json={"query": query, **fields}).raise_for_status().json()
    return SearchReply.model_validate(body)


@pytest.mark.parametrize("by", ["vector", "content", "prefix"])
def test_written_items_are_found_and_deleted_ones_are_not(writable: TestClient, by: str) -> None:
    film = {"title": "Zebra Opéra", "genres": ["War"], "year": 1985}
    for item_id in ("a/new", "other"):
        writable.put(f"/items/{item_id}", json={"attributes": film}).raise_for_status()
    found = similar(writable, "a/new", by=by, k=3)
    assert (found.item_id, found.by, found.items[0].item_id) == ("a/new", by, "other")
    assert found.items[0].payload == film
    assert [item.match for item in search(writable, "zebra op", k=2).items] == ["title", "title"]
    writable.delete("/items/other").raise_for_status()
    kept = similar(writable, "a/new", by=by, k=100, filter=json.dumps(WAR))
    assert len(kept.items) == 16
    assert "other" not in {item.item_id for item in kept.items}
    assert [item.item_id for item in search(writable, "OPERA zebra", k=1).items] == ["a/new"]
    counts = AttributesReply.model_validate(writable.get("/attributes").json()).attributes
    assert {one.name: one.kind for one in counts} == {"title": "text", "year": "number", "genres": "label"}
    assert ("War", 17) in {(one.value, one.count) for attribute in counts for one in attribute.values}


def test_titles_with_all_words_come_first_and_then_items_alike_in_meaning(writable: TestClient) -> None:
    items = search(writable, "horror 118", k=10).items
    assert items[0].payload["title"].startswith("Horror 118")
    kinds = [item.match for item in items]
    assert kinds == ["title"] * 5 + ["meaning"] * 5
    assert all("horror" in item.payload["title"].lower() for item in items[:5])
    scores = [item.score for item in items[5:]]
    assert scores == sorted(scores, reverse=True)
    assert len({item.item_id for item in items}) == 10
    assert {tuple(item.payload["genres"]) for item in search(writable, "horror", filter=WAR).items} == {("War",)}


def test_a_bundle_without_a_text_encoder_finds_titles_alone(plain_client: TestClient) -> None:
    found = search(plain_client, "horr 118", k=20)
    assert {item.match for item in found.items} == {"title"}
    assert search(plain_client, "no such word at all").items == []
    assert search(plain_client, "!?").items == []


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("/items/116/similar?k=101", "/k"),
        ("/items/116/similar?by=taste", "/by"),
        ("/items/116/similar?filter=%7B", "/filter"),
        ("/items/116/similar?filter=%7B%22colour%22%3A%7B%22any_of%22%3A%5B1%5D%7D%7D", "/filter/colour"),
        ("/items/116/similar?filter=%7B%22year%22%3A%7B%22gte%22%3A%22x%22%7D%7D", "/filter/year/gte"),
    ],
)
def test_a_fault_is_named(plain_client: TestClient, path: str, pointer: str) -> None:
    response = plain_client.get(path)
    assert response.status_code == 422, response.text
    assert [one["pointer"] for one in response.json()["errors"]] == [pointer]


def test_unknown_items_and_faulty_searches_are_refused(plain_client: TestClient) -> None:
    assert plain_client.get("/items/nope/similar").json()["type"] == "unknown-item"
    for body in ({"query": ""}, {"query": "x" * 257}, {"query": 5}, {"query": "x", "filter": {"colour": {"gte": 1}}}):
        assert plain_client.post("/search", json=body).status_code == 422, body
    assert plain_client.post("/search", json={"query": "half \\ud800"}).status_code == 200
