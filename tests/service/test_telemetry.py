"""Metrics, logs and traces of a service in a process of its own."""

import json
import random
import shutil
import string
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.support.running import running_service
from rqrec.service.app import create_app
from tests.service.conftest import settings_for, until

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """A server that collects request bodies: its address, and the bodies."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", bodies
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_logs_are_json_with_request_and_trace_and_spans_are_sent(bundles: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with collector() as (endpoint, spans):
        settings = {
            "RQREC_BUNDLE": str(bundles),
            "RQREC_LOG_FORMAT": "json",
            "RQREC_LOG_REQUESTS": "true",
            "RQREC_OTLP_ENDPOINT": endpoint,
        }
        with running_service(settings, log=log) as (url, _):
            headers = {"traceparent": TRACEPARENT, "x-request-id": "0af7651916cd43dd8448eb211c80319d"}
            response = httpx.post(f"{url}/recommend", json={"history": ["116"], "k": 2}, headers=headers)
            assert response.status_code == 200
            assert response.headers["traceparent"] == TRACEPARENT
            assert httpx.get(f"{url}/users/secret-user").status_code == 404  # no admin token is set
            assert "traceparent" not in httpx.get(f"{url}/items/116", headers={"traceparent": "nonsense"}).headers
        until(lambda: bool(spans))  # sent at the latest when the service stops
    assert bytes.fromhex(TRACE_ID) in b"".join(spans)
    assert b"/recommend" in b"".join(spans)
    assert b"GET /users/{user_id}" in b"".join(spans)
    assert b"secret-user" not in b"".join(spans)
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert any(record["message"].startswith("serving on http://") for record in records)
    assert not any("color_message" in record for record in records)
    (asked,) = (record for record in records if record.get("path") == "/recommend")
    assert asked["trace_id"] == TRACE_ID
    assert asked["request_id"] == "0af7651916cd43dd8448eb211c80319d"
    assert (asked["level"], asked["logger"], asked["method"], asked["status"]) == (
        *("INFO", "rqrec.requests", "POST", 200),
    )
    assert asked["took_ms"] > 0
    assert any(record["logger"].startswith("uvicorn") for record in records)


def test_no_label_grows_with_what_clients_send(bundles: Path, tmp_path: Path) -> None:
    rng = random.Random(0)

    def word() -> str:
        return "".join(rng.choices(string.ascii_letters, k=8))

    # Without counts of outcomes: the label `surface` takes 32 values, which test_outcome_counts.py tests.
    settings = settings_for(bundles, admin_token="x", data_dir=tmp_path, promotion="off")
    with TestClient(create_app(settings)) as client:

        def act(times: int) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
            for _ in range(times):
                client.request(word().upper(), f"/{word()}")
                client.get(f"/items/{word()}")
                client.get(f"/items/{word()}/semantic-id")
                client.get(f"/semantic-ids/{rng.randrange(1000)}/items")
                client.put(f"/items/{word()}", json={})
                client.post(f"/models/{word()}/activate", headers={"Authorization": "Bearer x"})
                body = {"history": [word(), "116"], "routing_key": word(), "filter": {word(): {"any_of": [word()]}}}
                client.post("/recommend", json=body)
                event = {"user_id": word(), "item_id": word(), "type": "view"}
                client.post("/events", json={"events": [event, {**event, "type": word()}]})
                client.post("/recommend", json={"user_id": word(), "surface": word()})
                client.get(f"/users/{word()}", headers={"Authorization": "Bearer x"})
            families = text_string_to_metric_families(client.get("/metrics").text)
            return {(s.name, tuple(sorted(s.labels.items()))) for family in families for s in family.samples}

        act(2)  # the first scrape is counted by the second one
        assert act(3) == act(30)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (apt-get install prometheus)")
def test_promtool_accepts_the_metrics(plain_client: TestClient) -> None:
    plain_client.post("/recommend", json={"history": ["116"]})
    metrics = plain_client.get("/metrics").text
    done = subprocess.run(["promtool", "check", "metrics"], check=False, input=metrics, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
