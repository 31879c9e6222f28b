"""Silent and slow clients, large bodies, and floods of costly requests, over raw sockets."""

import json
import time
from contextlib import ExitStack, suppress

import httpx
import pytest

from benchmarks.support.machine import resident_mib
from tests.service.server.raw_sockets import BODY, Running, connected, post, read_all, statuses


@pytest.mark.parametrize("path", ["/openapi.json", "/metrics", "/healthz", "/semantic-ids/1/items?limit=1000"])
def test_a_flood_of_what_is_costly_to_make_keeps_no_probe_waiting(server: Running, path: str) -> None:
    flood = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 20
    with ExitStack() as stack:
        for number in range(120):
            connection = stack.enter_context(connected(server, f"127.0.0.{2 + number % 3}"))
            connection.sendall(flood)
        begin = time.monotonic()
        assert httpx.get(f"{server[0]}/healthz", timeout=30).status_code == 200
        assert time.monotonic() - begin < 4


def test_large_bodies_are_parsed_one_at_a_time(server: Running) -> None:
    body = json.dumps({"history": [], **{str(number): 1 for number in range(60_000)}}).encode()
    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(connected(server)).sendall(post(body))
        assert httpx.get(f"{server[0]}/healthz", timeout=30).status_code == 200


SILENT = {
    "nothing": b"",
    "half a line": b"GET /hea",
    "half a head": b"GET /healthz HTTP/1.1\r\nHost: x\r\nA",
    "half a body": post()[:-4],
    "half a chunk": b"POST /recommend HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
    "half a body of a route that reads none": b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
    "half a body after 100-continue": b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n"
    b"Expect: 100-continue\r\n\r\n",
    "one request, then half of another": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /he",
    "one request, then nothing": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("kind", SILENT)
def test_a_silent_connection_is_closed(server: Running, kind: str) -> None:
    with connected(server) as connection:
        connection.sendall(SILENT[kind])
        begin = time.monotonic()
        answers = read_all(connection)
        assert time.monotonic() - begin < 5
    if kind.startswith("half a body of POST") or kind == "half a chunk":
        assert statuses(answers) == [408]


def test_a_head_that_trickles_in_has_as_little_time(server: Running) -> None:
    with connected(server) as connection, pytest.raises(OSError):  # noqa: PT011 - any error of a closed connection
        begin = time.monotonic()
        while time.monotonic() - begin < 10:
            connection.sendall(b"a")
            time.sleep(0.1)
        pytest.fail("it is open after ten times the limit")


def test_bodies_that_never_end_share_a_budget_and_small_ones_still_pass(server: Running) -> None:
    before = resident_mib(server[1].pid)
    head = b"POST /recommend HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(40):
            connection = stack.enter_context(connected(server))
            with suppress(OSError):
                connection.sendall(head + b" " * 990_000)
        assert httpx.post(f"{server[0]}/recommend", content=BODY).status_code == 200
        assert resident_mib(server[1].pid) - before < 40
