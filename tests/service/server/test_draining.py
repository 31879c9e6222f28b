"""Shutdown: no accepted request is lost, and no client delays the end."""

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from benchmarks.support.running import running_service
from tests.service.conftest import SLOW, until
from tests.service.server.raw_sockets import connected, post, read_all, statuses

CLIENTS = 8


def status(url: str, path: str) -> int:
    return httpx.get(f"{url}{path}").status_code


def recommend(client: httpx.Client) -> httpx.Response:
    return client.post("/recommend", json={"history": ["116"], "k": 3})


def recommend_until_refused(url: str, seen: list[tuple[float, int]]) -> None:
    """Sends requests one after the other and notes their time and status. A lost request raises an error."""
    with httpx.Client(base_url=url) as client:
        while not seen or seen[-1][1] == 200:
            seen.append((time.monotonic(), recommend(client).status_code))


def test_sigterm_loses_no_request_and_stays_alive_until_all_are_answered(bundles: Path, tmp_path: Path) -> None:
    settings = {"RQREC_BUNDLE": str(bundles), "RQREC_DRAIN_S": "2"}
    seen: list[list[tuple[float, int]]] = [[] for _ in range(CLIENTS)]
    with running_service(settings, module=SLOW, log=tmp_path / "log") as (url, process):
        with ThreadPoolExecutor(CLIENTS) as pool:
            loads = [pool.submit(recommend_until_refused, url, one) for one in seen]
            until(lambda: all(seen))
            process.send_signal(signal.SIGTERM)
            until(lambda: status(url, "/readyz") == 503)
            not_ready = time.monotonic()
            answered_while_not_ready = status(url, "/healthz"), status(url, "/items/116")
            for load in loads:
                load.result(timeout=30)
        process.wait(timeout=10)
    assert answered_while_not_ready == (200, 200)
    for one in seen:
        assert [code for _, code in one][:-1] == [200] * (len(one) - 1)
        assert one[-1][1] == 503
        assert one[-2][0] > not_ready, "requests must be answered until load balancers stop sending them"
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_what_was_accepted_before_sigterm_is_answered(bundles: Path) -> None:
    with running_service({"RQREC_BUNDLE": str(bundles)}, module=SLOW) as (url, process):
        with httpx.Client(base_url=url) as client, ThreadPoolExecutor(1) as pool:
            running = pool.submit(recommend, client)
            until(lambda: "rqrec_batch_size_count 1.0" in httpx.get(f"{url}/metrics").text)
            process.send_signal(signal.SIGTERM)
            until(lambda: status(url, "/readyz") == 503)
            with httpx.Client(base_url=url) as other:
                assert recommend(other).status_code == 503
            assert status(url, "/healthz") == 200
            response = running.result()
        assert response.status_code == 200
        assert response.headers["connection"] == "close"
        process.wait(timeout=5)


HANGING = {
    "half a body": (post()[:-4], 503),
    "half a head": (b"GET /healthz HT", None),
    "an upgrade": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 200),
    "nothing": (b"", None),
}


@pytest.mark.parametrize("kind", HANGING)
def test_no_client_holds_up_the_end(bundles: Path, kind: str) -> None:
    sent, expected = HANGING[kind]
    settings = {"RQREC_BUNDLE": str(bundles), "RQREC_BODY_TIMEOUT_S": "60", "RQREC_TIMEOUT_MS": "60000"}
    with running_service(settings, module=SLOW) as (url, process), connected((url, process)) as connection:
        connection.sendall(sent)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=8) is not None
        answers = read_all(connection)
    assert statuses(answers) == ([] if expected is None else [expected])


def test_a_taken_port_is_named_with_the_setting(bundles: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        environment = {**os.environ, "RQREC_BUNDLE": str(bundles), "RQREC_PORT": port}
        command = [sys.executable, "-m", "service"]
        ended = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)
    assert ended.returncode == 3
    assert f"127.0.0.1:{port}" in ended.stderr.decode()
    assert "RQREC_PORT" in ended.stderr.decode()
