"""Refusals during an overload, at the socket, and searches that are dropped because the client has gone."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx

from benchmarks.support.running import running_service
from tests.service.conftest import SLOW, until

BODY = {"history": ["116"]}


def metric(url: str, sample: str) -> float:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{sample} "))


@contextmanager
def overloaded(bundles: Path, log: Path | None = None) -> Iterator[tuple[str, list["Future[httpx.Response]"]]]:
    """A service whose search is running and whose queue is full, and the futures of its accepted requests."""
    settings = {"RQREC_BUNDLE": str(bundles), "RQREC_MAX_QUEUE": "1", "RQREC_MAX_BATCH": "1", "SEARCH_S": "3"}
    settings["RQREC_TIMEOUT_MS"] = "60000"
    with running_service(settings, module=SLOW, log=log) as (url, _), ThreadPoolExecutor(2) as pool:
        accepted = [pool.submit(httpx.post, f"{url}/recommend", json=BODY, timeout=60)]
        until(lambda: metric(url, "rqrec_batch_size_count") == 1)
        accepted.append(pool.submit(httpx.post, f"{url}/recommend", json=BODY, timeout=60))
        until(lambda: metric(url, "rqrec_queue_depth") == 1)
        yield url, accepted


def test_a_full_queue_refuses_every_route_but_probes_and_metrics_at_once(bundles: Path) -> None:
    request_id = "0f8fad5bd9cb469fa16570867728950e"
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with overloaded(bundles) as (url, accepted), httpx.Client(base_url=url) as client:
        begin = time.perf_counter()
        refused = [
            client.post("/recommend", json=BODY, headers={"X-Request-ID": request_id, "traceparent": trace}),
            client.post("/recommend", content=b"x" * 300_000),
            client.get("/items/100"),
            client.get("/nowhere"),
        ]
        head = client.head("/items/100")
        assert time.perf_counter() - begin < 0.2
        for path in ("/healthz", "/readyz", "/metrics"):
            assert client.get(path).status_code == 200
        assert metric(url, 'rqrec_requests_shed_total{reason="overload"}') == 5
        assert metric(url, 'rqrec_http_requests_total{method="POST",route="unmatched",status="429"}') == 2
        assert [one.result().status_code for one in accepted] == [200, 200]
    for response in refused:
        assert response.status_code == 429
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["type"] == "overloaded"
        assert response.json()["request_id"] == response.headers["x-request-id"] != ""
        assert int(response.headers["retry-after"]) >= 1
        assert response.headers["x-content-type-options"] == "nosniff"
    assert refused[0].json()["request_id"] == request_id
    assert refused[0].headers["traceparent"] == trace
    assert (head.status_code, head.content) == (429, b"")


def test_each_request_on_a_connection_is_refused_until_one_closes_it(bundles: Path) -> None:
    one, last = (f"GET /items/100 HTTP/1.1\r\nHost: x\r\n{more}\r\n" for more in ("", "Connection: close\r\n"))
    with (
        overloaded(bundles) as (url, _),
        socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0)) as connection,
    ):
        connection.sendall((one + one + last).encode())
        answers = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answers.count(b"HTTP/1.1 429 Too Many Requests") == answers.count(b'"type":"overloaded"') == 3
    assert b"connection: close" in answers.split(b"HTTP/1.1")[-1]
    assert answers.count(b"connection: close") == 1


def test_a_body_that_was_not_asked_for_is_not_waited_for(bundles: Path) -> None:
    request = b"POST /recommend HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
    with (
        overloaded(bundles) as (url, _),
        socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0)) as connection,
    ):
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"connection: close" in answer


def test_a_request_behind_one_that_closes_the_connection_is_not_started(bundles: Path, tmp_path: Path) -> None:
    refused = b"POST /recommend HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}"
    with (
        overloaded(bundles, tmp_path / "log") as (url, _),
        socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0)) as connection,
    ):
        connection.sendall(refused + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answer.count(b"HTTP/1.1") == 1
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_client_that_hangs_up_costs_no_search(bundles: Path) -> None:
    settings = {"RQREC_BUNDLE": str(bundles), "RQREC_MAX_BATCH": "1", "SEARCH_S": "2"}
    body = json.dumps(BODY).encode()
    request = b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with running_service(settings, module=SLOW) as (url, _), ThreadPoolExecutor(1) as pool:
        searched = pool.submit(httpx.post, f"{url}/recommend", json=BODY, timeout=60)
        until(lambda: metric(url, "rqrec_batch_size_count") == 1)
        with socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0)) as connection:
            connection.sendall(request)
            until(lambda: metric(url, "rqrec_queue_depth") == 1)
        gone = 'rqrec_http_requests_total{method="POST",route="/recommend",status="499"}'
        until(lambda: metric(url, gone) == 1)
        assert searched.result().status_code == 200
        until(lambda: metric(url, 'rqrec_requests_shed_total{reason="abandoned"}') == 1)
        assert httpx.post(f"{url}/recommend", json=BODY).status_code == 200
        assert metric(url, "rqrec_batch_size_count") == 2
