"""A service with three bundles, and calls of its model routes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from rqrec.service.app import create_app
from tests.service.conftest import settings_for

TOKEN = "a-secret-token"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
HISTORY = ["116", "117", "118"]


@contextmanager
def service(bundles: Path, **fields: object) -> Iterator[TestClient]:
    fields = {"admin_token": TOKEN, "redis_timeout_s": 2.0, "redis_check_s": 0.05, "rollout_poll_s": 0.05, **fields}
    with TestClient(create_app(settings_for(bundles, **fields)), headers=HEADERS) as client:
        yield client


def ask(client: TestClient, **fields: object) -> dict[str, Any]:
    response = client.post("/recommend", json={"history": HISTORY, "k": 5, **fields})
    assert response.status_code == 200, response.text
    reply: dict[str, Any] = response.json()
    assert_whole(reply)
    return reply


def assert_whole(reply: dict[str, Any]) -> None:
    """Checks that every item of a reply comes from the model that the reply names."""
    assert reply["items"]
    assert all(item["payload"]["title"].endswith(f" of {reply['model_version']}") for item in reply["items"])


def activate(client: TestClient, version: str, **body: object) -> dict[str, str | None]:
    response = client.post(f"/models/{version}/activate", json=body or None)
    assert response.status_code == 200, response.text
    return {model["version"]: model["part"] for model in response.json()["models"]}


def samples(client: TestClient, name: str) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith(name)}
