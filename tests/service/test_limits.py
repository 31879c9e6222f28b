"""Rates, and the headers of every answer."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from benchmarks.running import RedisServer
from models.ranking import Ranking
from service.app import create_app
from service.snapshot import SearchKey, SearchWork, search
from tests.service.conftest import settings_for, until


def test_a_client_over_its_rate_is_told_when_to_come_back(bundles: Path, redis_server: RedisServer) -> None:
    fields = {"rate_limit": "3/minute", "redis_url": redis_server.url, "redis_timeout_s": 2.0}
    settings = settings_for(bundles, **fields)
    with TestClient(create_app(settings)) as one, TestClient(create_app(settings)) as other:
        key = {"X-API-Key": "a-secret-key"}
        statuses = [client.get("/items/100", headers=key).status_code for client in (one, other, one, other, one)]
        assert statuses == [200, 200, 200, 429, 429]  # counted for both replicas together
        refused = one.get("/items/100", headers=key)
        assert refused.json()["type"] == "rate-limited"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert one.get("/items/100", headers={"X-API-Key": "another"}).status_code == 200
        assert one.get("/items/100").status_code == 200  # by address
        assert one.get("/healthz", headers=key).status_code == one.get("/readyz", headers=key).status_code == 200
        assert 'rqrec_requests_shed_total{reason="rate"} 2.0' in one.get("/metrics", headers=key).text
        assert "secret" not in "".join(map(str, redis_server.client.keys()))
        redis_server.stop()
        time.sleep(0.05)
        assert one.get("/items/100", headers=key).status_code == 200  # nobody is refused without Redis


def test_a_full_queue_refuses_every_route_but_probes_and_metrics_at_once(bundles: Path) -> None:
    gate, body = threading.Event(), {"history": ["116"]}

    def search_when_told(key: SearchKey, batch: Sequence[SearchWork]) -> list[Ranking]:
        assert gate.wait(30)
        return search(key, batch)

    app = create_app(settings_for(bundles, max_queue=1, max_batch=1), search=search_when_told)
    with TestClient(app) as client, ThreadPoolExecutor(2) as pool:
        batcher = app.state.engine.batcher
        accepted = [pool.submit(client.post, "/recommend", json=body)]
        until(lambda: bool(batcher.is_working) and batcher.waiting == 0)
        time.sleep(0.2)  # until it is taken from the queue
        accepted.append(pool.submit(client.post, "/recommend", json=body))
        until(lambda: bool(batcher.is_full))
        request_id = "0f8fad5bd9cb469fa16570867728950e"
        trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        begin = time.perf_counter()
        refused = [
            client.post("/recommend", json=body, headers={"X-Request-ID": request_id, "traceparent": trace}),
            client.post("/recommend", content=b"not JSON"),
            client.get("/items/100"),
            client.get("/nowhere"),
        ]
        assert time.perf_counter() - begin < 0.2
        for response in refused:
            assert response.status_code == 429
            assert response.headers["content-type"] == "application/problem+json"
            assert response.json()["type"] == "overloaded"
            assert response.json()["request_id"] == response.headers["x-request-id"] != ""
            assert int(response.headers["retry-after"]) >= 1
            assert response.headers["x-content-type-options"] == "nosniff"
        assert refused[0].json()["request_id"] == request_id
        assert refused[0].headers["traceparent"] == trace
        for path in ("/healthz", "/readyz", "/metrics"):
            assert client.get(path).status_code == 200
        metrics = client.get("/metrics").text
        assert 'rqrec_requests_shed_total{reason="overload"} 4.0' in metrics
        assert 'rqrec_http_requests_total{method="POST",route="unmatched",status="429"} 2.0' in metrics
        gate.set()
        assert [one.result().status_code for one in accepted] == [200, 200]


def test_without_redis_every_replica_counts_for_itself(bundles: Path) -> None:
    with TestClient(create_app(settings_for(bundles, rate_limit="1/minute"))) as client:
        assert [client.get("/items/100").status_code for _ in range(2)] == [200, 429]


def test_a_rate_that_is_none_is_refused_at_the_start(bundles: Path) -> None:
    with pytest.raises(ValidationError, match="rate_limit"):
        settings_for(bundles, rate_limit="often")


def test_every_answer_has_the_headers_that_protect(plain_client: TestClient) -> None:
    for path in ("/healthz", "/items/100", "/items/nope", "/nowhere", "/metrics", "/openapi.json"):
        headers = plain_client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["cache-control"] == "no-store"
    assert "content-security-policy" not in plain_client.get("/docs").headers
