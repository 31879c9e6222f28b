"""The headers of every answer, added middleware, and web pages of other origins."""

from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from rqrec.service.app import create_app
from tests.service.conftest import settings_for


def test_every_answer_has_the_headers_that_protect(plain_client: TestClient) -> None:
    for path in ("/healthz", "/items/100", "/items/nope", "/nowhere", "/metrics", "/openapi.json"):
        headers = plain_client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["cache-control"] == "no-store"
    assert plain_client.get("/docs").headers["content-security-policy"].startswith("default-src 'self';")


def test_middleware_can_be_added_and_sees_every_route(bundles: Path) -> None:
    class Stamp:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def stamped(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message["headers"], (b"x-stamp", b"1")]
                await send(message)

            await self.app(scope, receive, stamped)

    app = create_app(settings_for(bundles))
    app.add_middleware(Stamp)
    with TestClient(app) as client:
        answers = client.post("/recommend", json={"history": ["116"]}), client.get("/healthz"), client.get("/nowhere")
        assert [one.headers["x-stamp"] for one in answers] == ["1", "1", "1"]


def test_pages_of_the_origins_that_are_set_may_call(bundles: Path) -> None:
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    with TestClient(create_app(settings_for(bundles, cors_origins=["https://shop.example"]))) as client:
        allowed = client.options("/recommend", headers={"Origin": "https://shop.example", **preflight})
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
        answer = client.post("/recommend", json={"history": []}, headers={"Origin": "https://shop.example"})
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        other = client.options("/recommend", headers={"Origin": "https://other.example", **preflight})
        assert "access-control-allow-origin" not in other.headers
