"""Items written over HTTP to a service on a real Redis."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr, ValidationError

from benchmarks.support.running import RedisServer
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.items.item_tokenizer import ItemTokenizer, NoTextEncoder
from rqrec.models.tokenizer.featurizer import TEXT, Given
from rqrec.service.app import create_app
from rqrec.service.settings import Settings
from tests.service.conftest import settings_for
from tests.text_encoders import with_text_encoder

TOKEN = "a-secret-token"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
FILM = {"title": "Horror 900 (1985)", "genres": ["Horror"], "year": 1985}
HISTORY = ["116", "117", "118"]


@contextmanager
def replica(bundles: Path, server: RedisServer, **fields: object) -> Iterator[TestClient]:
    fields = {"admin_token": TOKEN, "redis_url": server.url, "redis_timeout_s": 2.0, **fields}
    with TestClient(create_app(settings_for(bundles, **fields)), headers=HEADERS) as client:
        yield client


@pytest.fixture
def client(bundles: Path, redis_server: RedisServer) -> Iterator[TestClient]:
    with replica(bundles, redis_server) as client:
        yield client


@pytest.fixture(scope="module")
def film(bundle: Bundle) -> dict[str, Any]:
    """A film with a text vector, because the encoder of the small bundle knows the texts of training only."""
    block = ItemTokenizer(bundle).featurizer.given_block(TEXT)
    assert block is not None
    return {"attributes": FILM, "text_vector": list(np.linspace(-1, 1, block.width))}


def recommended(client: TestClient, **fields: object) -> list[str]:
    response = client.post("/recommend", json={"history": HISTORY, "k": 10, **fields})
    assert response.status_code == 200, response.text
    return [item["item_id"] for item in response.json()["items"]]


def test_a_written_item_is_known_and_recommendable_on_every_replica(
    client: TestClient, bundles: Path, redis_server: RedisServer, film: dict[str, Any]
) -> None:
    with replica(bundles, redis_server) as other:
        response = client.put("/items/new", json=film)
        assert response.status_code == 201, response.text
        written = response.json()
        assert written["catalogue_version"] == 1
        client.put("/items/second", json=film)
        while other.get("/readyz").json()["catalogue_version"] < 2:
            pass
        for one in (client, other):
            assert one.get("/items/new/semantic-id").json()["semantic_id"] == written["semantic_id"]
            assert one.get("/items/new").json()["payload"] == FILM
            assert "new" in recommended(one, new_item_share=0.2)
            assert recommended(one, filter={"item_id": {"any_of": ["new"]}}) == ["new"]
            assert "new" not in recommended(one, exclude=["new"], new_item_share=1)
            assert one.post("/recommend", json={"history": ["new"]}).json()["fallback"] is None
    with replica(bundles, redis_server) as restarted:
        assert restarted.get("/items/new/semantic-id").json()["semantic_id"] == written["semantic_id"]
    prefix = "-".join(map(str, written["semantic_id"][:-1]))
    page = client.get(f"/semantic-ids/{prefix}/items").json()
    assert {"new", "second"} <= {item["item_id"] for item in page["items"]}
    assert page["total"] == len(page["items"])


def test_a_deleted_item_is_gone_and_may_come_back(client: TestClient, film: dict[str, Any]) -> None:
    first = recommended(client)[0]
    assert client.delete(f"/items/{first}").status_code == 204
    assert client.get(f"/items/{first}").status_code == 404
    assert first not in recommended(client)
    assert client.delete(f"/items/{first}").status_code == 404
    assert client.put(f"/items/{first}", json=film).status_code == 201
    assert client.put(f"/items/{first}", json=film).status_code == 200
    assert client.get(f"/items/{first}").json()["payload"] == FILM


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"attributes": {"colour": "red"}}, "/attributes/colour"),
        ({"attributes": {"year": "old"}}, "/attributes/year"),
        ({"attributes": {"year": True}}, "/attributes/year"),
        ({"attributes": {"genres": [1, {}]}}, "/attributes/genres"),
        ({"attributes": {"item_id": "x"}}, "/attributes/item_id"),
        ({"attributes": {"title": "Heat"}}, "/text_vector"),
        ({"text_vector": [1.0]}, "/text_vector"),
        ({"text_vector": ["x"]}, "/text_vector/0"),
        ({"more": 1}, "/more"),
    ],
)
def test_bad_items_name_their_fault(client: TestClient, body: dict[str, Any], pointer: str) -> None:
    response = client.put("/items/bad", json=body)
    assert response.status_code == 422
    assert [part["pointer"] for part in response.json()["errors"]] == [pointer]


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic abc", f"Bearer {TOKEN}x", "Bearer ü"])
def test_writing_needs_the_token(client: TestClient, header: str | None) -> None:
    headers = [] if header is None else [(b"Authorization", header.encode("latin-1"))]
    del client.headers["Authorization"]
    for method in ("PUT", "DELETE"):
        response = client.request(method, "/items/100", json={}, headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in response.text


def test_writing_is_off_without_a_token_and_refused_without_redis(bundles: Path, redis_server: RedisServer) -> None:
    with replica(bundles, redis_server, admin_token=None) as client:
        assert client.delete("/items/100").json()["type"] == "admin-off"
    with TestClient(create_app(settings_for(bundles, admin_token=TOKEN)), headers=HEADERS) as client:
        response = client.delete("/items/100")
        assert (response.status_code, response.json()["type"]) == (503, "read-only")


def test_an_empty_token_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQREC_ADMIN_TOKEN", "")
    assert Settings().admin_token is None
    with pytest.raises(ValidationError):
        Settings(admin_token=SecretStr(""))


def test_pages_below_a_prefix(client: TestClient, bundle: Bundle) -> None:
    first = bundle.learned.codes_RL[:, 0]
    code = int(first[0])
    total = int((first == code).sum())
    seen, offset = [], 0
    while offset is not None:
        page = client.get(f"/semantic-ids/{code}/items", params={"limit": 2, "offset": offset}).json()
        assert page["total"] == total
        seen += [tuple(item["semantic_id"]) for item in page["items"]]
        offset = page["next_offset"]
    assert seen == sorted(seen)
    assert len(seen) == total
    assert client.get("/semantic-ids/99-1-1-1-1-1/items").json() == {"items": [], "total": 0, "next_offset": None}
    assert client.get("/semantic-ids/x/items").status_code == 422


def test_writes_that_wait_for_the_text_encoder_hold_up_nobody_else(
    bundles: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_loaded = threading.Event()

    def embed(_tokenizer: ItemTokenizer, _items: pl.DataFrame) -> Given | None:
        is_loaded.wait(30)
        raise NoTextEncoder("it is not here")

    monkeypatch.setattr(ItemTokenizer, "embed", embed)
    fields: dict[str, object] = {"redis_url": redis_server.url, "redis_timeout_s": 2.0, "admin_token": "t"}
    settings = settings_for(bundles, max_admin_requests=50, **fields)
    headers = {"authorization": "Bearer t"}
    with TestClient(create_app(settings)) as client, ThreadPoolExecutor(40) as pool:
        put = partial(client.put, json={"attributes": {"title": "a film"}}, headers=headers)
        writes = [pool.submit(put, f"/items/waiting-{number}") for number in range(40)]
        time.sleep(0.5)
        body = {"history": ["116"], "filter": {"title": {"none_of": ["a film"]}}}
        assert client.post("/recommend", json=body).status_code == 200
        assert client.delete("/items/116", headers=headers).status_code == 204
        assert not any(write.done() for write in writes)
        is_loaded.set()
        assert {write.result().status_code for write in writes} == {422}


def test_an_item_with_text_needs_no_vector_where_the_bundle_holds_an_encoder(
    bundle: Bundle, redis_server: RedisServer, tmp_path: Path
) -> None:
    folder = with_text_encoder(bundle, tmp_path / "copy")
    with replica(folder, redis_server) as client:
        written = [client.put(f"/items/{name}", json={"attributes": FILM}) for name in ("one", "other")]
        assert [one.status_code for one in written] == [201, 201]
        one, other = (one.json()["semantic_id"] for one in written)
        assert one[:-1] == other[:-1]
        assert client.get("/items/one").json()["payload"] == FILM
