"""What the log says of a service that starts while Redis is away."""

import logging
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from benchmarks.support.running import RedisServer
from rqrec.service.app import create_app
from tests.service.conftest import settings_for, until


def test_a_service_that_waits_for_redis_says_so_and_is_ready_later(
    bundles: Path, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="rqrec")
    redis_server.stop()
    fields = {"redis_pause_s": 0.1, "rollout_poll_s": 0.1, "redis_empty_wait_s": 0.1, "redis_check_s": 0.1}
    with TestClient(create_app(settings_for(bundles, redis_url=redis_server.url, **fields))) as client:
        until(lambda: "is loaded, but /readyz answers 503: the roles of the models" in caplog.text)
        assert "ready with" not in caplog.text
        assert client.get("/readyz").status_code == 503
        redis_server.start()
        until(lambda: "ready with model " in caplog.text)
        assert client.get("/readyz").status_code == 200
    assert caplog.text.count("answers 503: the roles") == 1


def test_a_service_that_is_ready_at_once_says_so_once(bundles: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="rqrec")
    with TestClient(create_app(settings_for(bundles))) as client:
        assert client.get("/readyz").status_code == 200
        until(lambda: "ready with model " in caplog.text)
    assert "answers 503" not in caplog.text
