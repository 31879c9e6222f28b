"""Services that store events in an SQLite file or in Redis, as their clients see them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from rqrec.service.app import create_app
from tests.service.conftest import settings_for

TOKEN = "a-secret-token"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
EAGER = {"redis_timeout_s": 2.0, "redis_pause_s": 0.05}
HORROR = [str(116 + i) for i in range(16)]  # films of one genre


@contextmanager
def event_service(bundles: Path, store: dict[str, Any], **fields: Any) -> Iterator[TestClient]:
    """A service with an admin token and the event store that some settings name."""
    settings = settings_for(bundles, **{"admin_token": TOKEN, **EAGER, **store, **fields})
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def send(client: TestClient, user_id: str, *items: str, kind: str = "view", **fields: Any) -> dict[str, Any]:
    """Sends an event of a user for each item, and returns the reply."""
    events = [{"user_id": user_id, "item_id": item, "type": kind, **fields} for item in items]
    response = client.post("/events", json={"events": events})
    assert response.status_code == 200, response.text
    reply: dict[str, Any] = response.json()
    assert reply["rejected"] == []
    return reply


def recommend(client: TestClient, **body: Any) -> dict[str, Any]:
    response = client.post("/recommend", json=body)
    assert response.status_code == 200, response.text
    reply: dict[str, Any] = response.json()
    return reply


def ids(reply: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in reply["items"]]


def stored(client: TestClient, user_id: str) -> dict[str, Any]:
    """All that is stored of a user."""
    response = client.get(f"/users/{user_id}", headers=ADMIN)
    assert response.status_code == 200, response.text
    reply: dict[str, Any] = response.json()
    return reply


def items_of(entries: Sequence[dict[str, Any]]) -> list[str]:
    return [entry["item_id"] for entry in entries]
