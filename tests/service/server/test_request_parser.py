"""Upgrades, trailers, malformed bytes and heads without end, over raw sockets."""

import subprocess
import time
from contextlib import suppress

import pytest

from benchmarks.support.machine import resident_mib
from tests.service.server.raw_sockets import BODY, GET_LAST, Running, ask, connected, post, read_all, statuses

UPGRADES = ("h2c", "websocket", "TLS/1.0", "h2c, websocket", "nonsense/9")


@pytest.mark.parametrize("upgrade", UPGRADES)
def test_an_upgrade_is_not_taken_and_the_body_stays_its_requests(server: Running, upgrade: str) -> None:
    smuggled = b"GET /items/100 HTTP/1.1\r\nHost: x\r\n\r\n"
    headers = "Connection: Upgrade, HTTP2-Settings", f"Upgrade: {upgrade}", "HTTP2-Settings: AAMAAABk"
    codes, answers = ask(server, post(smuggled, "/recommend", *headers) + post(BODY, "/recommend", *headers) + GET_LAST)
    assert codes == [422, 200, 200], answers
    assert b'"items"' in answers


@pytest.mark.parametrize("chunk", [1, 7, 4096])
def test_an_upgrade_that_comes_in_pieces_is_not_taken_either(server: Running, chunk: int) -> None:
    request = post(BODY, "/recommend", "Connection: keep-alive, upgrade", "Upgrade: h2c") + GET_LAST
    with connected(server) as connection:
        for begin in range(0, len(request), chunk):
            connection.sendall(request[begin : begin + chunk])
            time.sleep(0.001)
        assert statuses(read_all(connection)) == [200, 200]


def test_curl_with_http2_is_answered(server: Running) -> None:
    command = ["curl", "-s", "--http2", "-o", "/dev/null", "-w", "%{http_code}", "-d", BODY.decode()]
    found = subprocess.run([*command, f"{server[0]}/recommend"], capture_output=True, text=True, check=False)
    assert found.stdout == "200", found


def test_an_upgrade_of_http_1_0_stays_1_0(server: Running) -> None:
    request = b"GET /healthz HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    codes, answers = ask(server, request)
    assert codes == [200]
    assert b"connection: close" in answers


def test_connect_and_http2_without_asking_are_refused(server: Running) -> None:
    assert ask(server, b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")[0] == [400]
    assert ask(server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")[0] == [400]


@pytest.mark.parametrize(
    "trailer", ["X-Request-ID: 0123456789abcdef0123456789abcdef", "Authorization: Bearer x", "Host: y", "Upgrade: h2c"]
)
def test_trailers_are_no_headers(server: Running, trailer: str) -> None:
    head = b"POST /recommend HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    trailers = f"{trailer}\r\n".encode()
    codes, answers = ask(server, head + b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(BODY), BODY, trailers) + GET_LAST)
    assert codes == [200, 200]
    assert b"0123456789abcdef" not in answers


def test_a_body_that_turns_out_to_be_no_http_is_refused_at_once(server: Running) -> None:
    head = b"POST /recommend HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    begin = time.monotonic()
    assert ask(server, head + b"zz\r\n")[0] == [400]
    assert ask(server, head + b"0\r\nContent-Length: 9\r\n\r\n" + GET_LAST)[0] in ([400], [422, 200])
    assert time.monotonic() - begin < 0.9


OVERLONG = {
    "one header": b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + b"a" * (24 << 20),
    "a name": b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"a" * (24 << 20),
    "a target": b"GET /" + b"a" * (24 << 20),
    "many headers": b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * (4 << 20),
    "trailers": b"POST /recommend HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    + b"a: b\r\n" * (4 << 20),
    "one trailer": b"POST /recommend HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: "
    + b"a" * (24 << 20),
    "an extension": b"POST /recommend HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a" * (24 << 20),
}


@pytest.mark.parametrize("kind", OVERLONG)
def test_what_never_ends_costs_neither_time_nor_memory(server: Running, kind: str) -> None:
    before, begin = resident_mib(server[1].pid), time.monotonic()
    with connected(server) as connection:
        with suppress(OSError):
            connection.sendall(OVERLONG[kind])
        answers = read_all(connection)
    assert set(statuses(answers)) <= {400, 408, 422, 431}
    assert time.monotonic() - begin < 5
    assert resident_mib(server[1].pid) - before < 20


def test_a_long_head_is_told_why_it_is_refused(server: Running) -> None:
    assert ask(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 40_000)[0] == [431]
    assert ask(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 200 + b"\r\n")[0] == [431]
