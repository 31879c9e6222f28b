"""Rate limits of clients."""

import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from benchmarks.support.running import RedisServer
from rqrec.service.app import create_app
from tests.service.conftest import settings_for


def test_a_client_over_its_rate_is_told_when_to_come_back(bundles: Path, redis_server: RedisServer) -> None:
    fields = {"rate_limit": "3/day", "redis_url": redis_server.url, "redis_timeout_s": 2.0}
    settings = settings_for(bundles, trusted_proxies=["10.0.0.0/8"], **fields)
    one, other = (
        TestClient(create_app(settings), client=("10.0.0.1", 1)) for _ in range(2)
    )  # the address is that of a trusted proxy
    with one, other:
        key = {"X-API-Key": "a-secret-key"}
        statuses = [client.get("/items/100", headers=key).status_code for client in (one, other, one, other, one)]
        assert statuses == [200, 200, 200, 429, 429]  # counted for both replicas together
        refused = one.get("/items/100", headers=key)
        assert refused.json()["type"] == "rate-limited"
        assert 1 <= int(refused.headers["retry-after"]) <= 86_400
        assert one.get("/items/100", headers={"X-API-Key": "another"}).status_code == 200
        assert one.get("/items/100").status_code == 200  # by address
        assert one.get("/healthz", headers=key).status_code == one.get("/readyz", headers=key).status_code == 200
        assert 'rqrec_requests_shed_total{reason="rate"} 2.0' in one.get("/metrics", headers=key).text
        assert "secret" not in "".join(map(str, redis_server.client.keys()))
        redis_server.stop()
        time.sleep(0.05)
        assert one.get("/items/100", headers=key).status_code == 200  # without Redis no request is refused


def test_without_redis_every_replica_counts_for_itself(bundles: Path) -> None:
    with TestClient(create_app(settings_for(bundles, rate_limit="1/day"))) as client:
        assert [client.get("/items/100").status_code for _ in range(2)] == [200, 429]


def test_a_rate_that_is_none_is_refused_at_the_start(bundles: Path) -> None:
    with pytest.raises(ValidationError, match="rate_limit"):
        settings_for(bundles, rate_limit="often")


def test_a_new_key_each_time_does_not_pass_the_rate(bundles: Path) -> None:
    with TestClient(create_app(settings_for(bundles, rate_limit="3/day"))) as client:
        statuses = [client.get("/items/100", headers={"X-API-Key": str(number)}).status_code for number in range(5)]
    assert statuses == [200, 200, 200, 429, 429]


def test_clients_behind_a_trusted_proxy_have_a_rate_each(bundles: Path) -> None:
    settings = settings_for(bundles, rate_limit="1/day", trusted_proxies=["10.0.0.0/8"])
    with TestClient(create_app(settings), client=("10.0.0.1", 1)) as client:
        forwarded = [{"X-Forwarded-For": f"9.9.9.{number}"} for number in (1, 2, 1)]
        assert [client.get("/items/100", headers=one).status_code for one in forwarded] == [200, 200, 429]


def test_the_files_of_the_explorer_do_not_count(bundles: Path) -> None:
    with TestClient(create_app(settings_for(bundles, rate_limit="1/day"))) as client:
        files = [client.get("/explorer/main.js").status_code for _ in range(3)]
        assert [*files, client.get("/").status_code, client.get("/").status_code] == [200, 200, 200, 200, 429]
