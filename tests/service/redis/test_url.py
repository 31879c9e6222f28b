import os
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from benchmarks.support.running import RedisServer, free_port
from rqrec.service.app import create_app
from rqrec.service.redis.url import read_redis_url
from tests.service.conftest import settings_for, until

SECRET = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@localhost:port/0",
        f"redis://:{SECRET}@localhost:99999/0",
        f"redis://:{SECRET}@localhost:0/0",
        f"redis://:{SECRET}@localhost/zero",
        f"redis://:{SECRET}@localhost/0/1",
        f"redis://:{SECRET}@[::1/0",
        f"redis://:{SECRET}@::1:6379/0",
        f"redis://:{SECRET}/x@localhost",
        f"redis://:{SECRET}#x@localhost",
        f"redis://:{SECRET}@x@localhost",
        f"redis://:{SECRET}?x@localhost",
        f"{SECRET}:x@localhost",
        f"{SECRET}://localhost",
        f"redis:/{SECRET}",
        f"redis://:{SECRET}@localhost/0?db={SECRET}",
        f"redis://:{SECRET}@localhost/0?{SECRET}=1",
        f"redis://:{SECRET}@localhost/0?socket_timeout={SECRET}",
        f"unix://?password={SECRET}",
        f"redis+sentinel://:{SECRET}@localhost:26379/",
        f"redis+sentinel://:{SECRET}@localhost:x/shop/0",
        f"redis+sentinel://:{SECRET}@localhost/shop/{SECRET}",
        f"redis+cluster://:{SECRET}@localhost/1",
        f"redis+cluster://:{SECRET}@localhost,:7000",
        f"http://:{SECRET}@localhost",
        "",
    ],
)
def test_a_bad_url_is_refused_without_a_part_of_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"must|is no|has a") as caught:
        read_redis_url(url)
    assert SECRET not in str(caught.value)


def test_good_urls() -> None:
    for url in (
        "redis://",
        "redis://localhost",
        "redis://[::1]:6379/15",
        "redis://user:p%40s%2Fs%23@localhost:6379/0?socket_keepalive=true",
        "rediss://localhost/0?ssl_ca_certs=/x",
        "unix:///run/redis.sock?db=1",
    ):
        assert read_redis_url(url).text == url
    sentinels = read_redis_url("rediss+sentinel://u:p%40s@[::1]:1,b/shop/3")
    assert (sentinels.addresses, sentinels.password) == ([("::1", 1), ("b", 26379)], "p@s")
    assert (sentinels.master, sentinels.database, sentinels.is_tls) == ("shop", 3, True)
    assert read_redis_url("redis+cluster://a:1,b").addresses == [("a", 1), ("b", 6379)]
    assert SECRET not in repr(read_redis_url(f"redis+cluster://:{SECRET}@a"))


def test_the_service_refuses_a_bad_url_in_one_line(bundles: Path) -> None:
    environment = {**os.environ, "RQREC_BUNDLE": str(bundles), "RQREC_REDIS_URL": f"redis://:{SECRET}@host:port"}
    done = subprocess.run(
        [sys.executable, "-m", "service"], check=False, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert done.stderr.startswith("rqrec: RQREC_REDIS_URL: must name hosts and ports")
    assert done.stderr.count("\n") == 1
    assert SECRET not in done.stdout + done.stderr


def closed(_server: RedisServer) -> str:
    return f"redis://:{SECRET}@127.0.0.1:{free_port()}/0"


def with_another_password(server: RedisServer) -> str:
    server.client.acl_setuser("default", enabled=True, passwords=["+right"], keys=["*"], categories=["+@all"])
    return server.url.replace("redis://", f"redis://:{SECRET}@")


def without_rights(server: RedisServer) -> str:
    server.client.acl_setuser("poor", enabled=True, passwords=[f"+{SECRET}"], keys=["other:*"], categories=["+@all"])
    return server.url.replace("redis://", f"redis://poor:{SECRET}@")


def of_no_host(_server: RedisServer) -> str:
    return f"redis://:{SECRET}@no-such-host.invalid:6379/0"


def with_tls_that_it_does_not_speak(server: RedisServer) -> str:
    return server.url.replace("redis://", f"rediss://:{SECRET}@")


def of_a_cluster_that_is_down(_server: RedisServer) -> str:
    return f"redis+cluster://:{SECRET}@127.0.0.1:{free_port()},127.0.0.1:{free_port()}"


def of_sentinels_that_are_down(_server: RedisServer) -> str:
    return f"redis+sentinel://:{SECRET}@127.0.0.1:{free_port()}/shop/0"


@pytest.mark.parametrize(
    "fault",
    [
        closed,
        with_another_password,
        without_rights,
        of_no_host,
        with_tls_that_it_does_not_speak,
        of_a_cluster_that_is_down,
        of_sentinels_that_are_down,
    ],
    ids=lambda fault: fault.__name__,
)
def test_why_redis_cannot_be_used_is_logged_once_and_without_the_password(
    bundles: Path, redis_server: RedisServer, caplog: pytest.LogCaptureFixture, fault: object
) -> None:
    url = fault(redis_server)  # type: ignore[operator]
    eager = {"redis_pause_s": 0.0, "redis_check_s": 0.05, "redis_timeout_s": 0.2, "redis_retries": 0}
    with TestClient(create_app(settings_for(bundles, redis_url=url, admin_token="t", **eager))) as client:
        reply = client.post("/recommend", json={"history": ["116"]})
        assert (reply.status_code, reply.json()["fallback"]) == (200, "degraded")
        assert client.get("/readyz").status_code == 503
        written = client.delete("/items/100", headers={"authorization": "Bearer t"})
        assert written.status_code == 503
        until(lambda: "rqrec_redis_errors_total 0.0" not in client.get("/metrics").text)
    assert 1 <= caplog.text.count("Redis fails: ") <= 3
    assert "Traceback" not in caplog.text
    assert SECRET not in caplog.text + reply.text + written.text
