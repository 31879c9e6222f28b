"""Attributes may bear any name, also one that the software uses itself: the whole way from the data to the answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient

from benchmarks.support.running import running_redis
from rqrec.models.bundle.bundle import read_bundle
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.app import create_app
from rqrec.training.run import Run
from rqrec.training.runtime.workspace import Workspace
from tests.conftest import no_search_graph, small_settings
from tests.service.conftest import settings_for

ITEMS = 64
TOKEN = "a-secret-token"
LABELS = ("semantic_id", "item_vector", "text", "collaborative", "label", "payload", "*", "^.*$", "a{}")
NUMBERS = ("popularity", "row", "column", "item_index", "user_id", "timestamp", "text_present")


def attributes_of(number: int) -> dict[str, Any]:
    """What the catalogue shows of an item."""
    shown: dict[str, Any] = {name: f"{name} of kind {number % 3}" for name in LABELS}
    return shown | dict.fromkeys(NUMBERS, number % 5) | {"title": f"The book {number}"}


@pytest.fixture(scope="module")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names")
    rng = np.random.default_rng(0)
    rows = [{"item_id": f"i{n}", **attributes_of(n), "text_vector": rng.normal(size=3).tolist()} for n in range(ITEMS)]
    pl.DataFrame(rows).write_parquet(folder / "items.parquet")
    chosen = [
        (f"u{user}", f"i{item}", 10 * at) for user in range(60) for at, item in enumerate(rng.permutation(60)[:6])
    ]
    pl.DataFrame(chosen, schema=["user_id", "item_id", "timestamp"], orient="row").write_parquet(
        folder / "interactions.parquet"
    )
    quick = ("RqVaeSettings.steps = 20", "DecoderSettings.epochs = 1", "SemanticIdSettings.max_collision_ratio = 1.0")
    with no_search_graph():
        return Run(Workspace(folder / "work", folder), small_settings(folder, *quick)).bundle.parent


@pytest.fixture(scope="module")
def client(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        redis = {"redis_url": server.url, "redis_timeout_s": 2.0}
        settings = settings_for(bundle_folder, admin_token=TOKEN, backend="torch", device="cpu", **redis)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with TestClient(create_app(settings), headers=headers) as client:
            yield client


def test_every_attribute_is_in_the_payload(client: TestClient) -> None:
    for number in range(ITEMS):
        assert client.get(f"/items/i{number}").json()["payload"] == attributes_of(number)
    (item,) = client.post("/recommend", json={"history": ["i0", "i1"], "k": 1}).json()["items"]
    assert item["payload"] == attributes_of(int(item["item_id"][1:]))


@pytest.mark.parametrize("name", [*LABELS, *NUMBERS])
def test_every_attribute_can_be_filtered_by(client: TestClient, name: str) -> None:
    wanted = attributes_of(7)[name]
    body = {"history": ["i0"], "exclude_history": False, "k": 64, "filter": {name: {"any_of": [wanted]}}}
    found = {item["item_id"] for item in client.post("/recommend", json=body).json()["items"]}
    assert found == {f"i{number}" for number in range(ITEMS) if attributes_of(number)[name] == wanted}


def test_every_attribute_can_be_written(client: TestClient, bundle_folder: Path) -> None:
    tokenizer = ItemTokenizer(read_bundle(bundle_folder))
    width = tokenizer.text_width
    assert width > 1
    assert tokenizer.vector_attributes == {"text_vector": 3}
    attributes = {**attributes_of(7), "popularity": 99}
    body = {"attributes": {**attributes, "text_vector": [1.0, 2.0, 3.0]}, "text_vector": [0.1] * width}
    response = client.put("/items/new", json=body)
    assert response.status_code == 201, response.text
    assert client.get("/items/new").json()["payload"] == attributes
    body = {"history": ["i0"], "filter": {"popularity": {"gte": 99}}}
    assert [item["item_id"] for item in client.post("/recommend", json=body).json()["items"]] == ["new"]
    assert client.delete("/items/new").status_code == 204
