"""The service answers alike under plain uvicorn and under its own server."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.support.running import SERVICE, running_service
from tests.service.conftest import SLOW

PLAIN, SLOW_PLAIN = ("-m", "tests.service.plain_service"), ("-m", "tests.service.plain_service", "slow")
TOKEN = "a-secret-token"
ADMIN = {"authorization": f"Bearer {TOKEN}"}
VARIABLE = {"recommendation_id", "took_ms", "request_id"}
REQUESTS: tuple[tuple[str, str, object, dict[str, str]], ...] = (
    ("POST", "/recommend", {"history": ["116", "nope"], "k": 3}, {}),
    ("POST", "/recommend", {"history": []}, {}),
    ("POST", "/recommend", {"history": ["116"], "filter": {"genres": {"any_of": ["Horror"]}}}, {}),
    ("POST", "/recommend", {"history": 3}, {}),
    ("POST", "/recommend", {"history": ["116"] * 1001}, {}),
    ("POST", "/recommend", "x" * 1_100_000, {}),
    ("POST", "/recommend", {"history": ["116"], "timeout_ms": 1, "beam_width": 500, "k": 64}, {}),
    ("GET", "/recommend", None, {}),
    ("OPTIONS", "/recommend", None, {"origin": "https://shop.example", "access-control-request-method": "POST"}),
    ("GET", "/items/116", None, {}),
    ("HEAD", "/items/116", None, {}),
    ("GET", "/items/116/semantic-id", None, {}),
    ("GET", "/items/116/similar?by=prefix&k=2", None, {}),
    ("GET", "/items/nope/similar", None, {}),
    ("GET", "/attributes", None, {}),
    ("GET", "/items/nope", None, {}),
    ("GET", "/items/%ff", None, {}),
    ("GET", "/items/a%00", None, {}),
    ("GET", "/semantic-ids/1/items?limit=2", None, {}),
    ("GET", "/semantic-ids/%D9%A1/items", None, {}),
    ("PUT", "/items/new", {"attributes": {}}, {}),
    ("PUT", "/items/new", {"attributes": {}}, ADMIN),
    ("DELETE", "/items/116", None, ADMIN),
    ("GET", "/models", None, ADMIN),
    ("POST", "/models/none/activate", {}, ADMIN),
    ("POST", "/events", {"events": [{"user_id": "u", "item_id": "116", "type": "view", "event_id": "e"}, 5]}, {}),
    ("POST", "/events", {"events": 5}, {}),
    ("POST", "/recommend", {"user_id": "u", "k": 3}, {}),
    ("POST", "/recommend", {"user_id": "u", "after": "nope"}, {}),
    ("GET", "/users/nobody", None, ADMIN),
    ("DELETE", "/users/u", None, ADMIN),
    ("GET", "/users/u", None, {}),
    ("GET", "/healthz", None, {}),
    ("GET", "/readyz", None, {}),
    ("GET", "/nowhere", None, {}),
)


@pytest.fixture(scope="module")
def both(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    settings = {
        "RQREC_BUNDLE": str(bundles),
        "RQREC_ADMIN_TOKEN": TOKEN,
        "RQREC_CORS_ORIGINS": '["https://shop.example"]',
    }

    def data_dir() -> dict[str, str]:
        return {"RQREC_DATA_DIR": str(tmp_path_factory.mktemp("data"))}

    with (
        running_service({**settings, **data_dir()}, module=SERVICE) as (ours, _),
        running_service({**settings, **data_dir()}, module=PLAIN) as (plain, _),
        httpx.Client(base_url=ours) as one,
        httpx.Client(base_url=plain) as other,
    ):
        yield one, other


@pytest.mark.parametrize(("method", "path", "body", "headers"), REQUESTS)
def test_both_servers_answer_alike(
    both: tuple[httpx.Client, httpx.Client], method: str, path: str, body: object, headers: dict[str, str]
) -> None:
    answers = [client.request(method, path, json=body, headers=headers) for client in both]
    assert answers[0].status_code == answers[1].status_code < 500 or answers[0].status_code in {503, 504}
    assert _stable_headers(answers[0]) == _stable_headers(answers[1])
    assert _stable(answers[0]) == _stable(answers[1])


def test_both_refuse_what_is_more_than_they_can_take(bundles: Path) -> None:
    settings = {"RQREC_BUNDLE": str(bundles), "RQREC_MAX_QUEUE": "2", "RQREC_MAX_BATCH": "1", "SEARCH_S": "1"}
    for module in (SLOW, SLOW_PLAIN):
        with running_service(settings, module=module) as (url, _):
            codes = _at_once(url, 12)
        assert set(codes) == {200, 429}, (module, codes)
        assert codes.count(429) >= 8


def _at_once(url: str, count: int) -> list[int]:
    import asyncio  # noqa: PLC0415

    async def ask() -> list[int]:
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            found = await asyncio.gather(*(client.post("/recommend", json={"history": ["116"]}) for _ in range(count)))
            return [response.status_code for response in found]

    return asyncio.run(ask())


def _stable_headers(response: httpx.Response) -> dict[str, str]:
    left_out = {"date", "server", "x-request-id", "content-length"}
    return {name: value for name, value in response.headers.items() if name not in left_out}


def _stable(response: httpx.Response) -> object:
    if "json" not in response.headers.get("content-type", "") or not response.content:
        return len(response.content) > 0
    body = response.json()
    return {name: value for name, value in body.items() if name not in VARIABLE}
