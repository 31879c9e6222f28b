"""Bodies: those whose request is answered before they have arrived, in tiny chunks, and with trailers."""

import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from benchmarks.support.running import running_service
from tests.service.server.raw_sockets import BODY, GET_LAST, Running, ask, connected, post, read_all, statuses

CHUNKED = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
FLOOD = """
import select, socket, sys, time

port, path, chunks, end = int(sys.argv[1]), sys.argv[2].encode(), b"1\\r\\na\\r\\n" * 3000, time.time() + 3

def new():
    one = socket.create_connection(("127.0.0.1", port))
    one.sendall(b"POST %b HTTP/1.1\\r\\nHost: x\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n" % path)
    one.setblocking(False)
    return one

connections = [new() for _ in range(60)]
unsent = dict.fromkeys(connections, chunks)
while time.time() < end:
    for one in select.select([], list(unsent), [], 0.1)[1]:
        try:
            unsent[one] = unsent[one][one.send(unsent[one]):] or chunks
        except BlockingIOError:
            continue
        except OSError:
            one.close()
            del unsent[one]
            unsent[new()] = chunks
"""
WHOLE_CHUNK = b"%x\r\n%b\r\n0\r\n" % (len(BODY), BODY)

ROUNDS = 20
LARGE = b'"' + b"x" * 1_100_000 + b'"'


@pytest.mark.parametrize(("path", "status"), [("/recommend", 413), ("/nowhere", 404), ("/healthz", 405)])
def test_the_rest_of_a_refused_body_is_dropped_and_the_connection_goes_on(
    server: Running, path: str, status: int
) -> None:
    # How much of a body is in memory when its request is refused is left to chance, hence the rounds.
    codes, _ = ask(server, (post(LARGE, path) + post()) * ROUNDS + GET_LAST)
    assert codes == [status, 200] * ROUNDS + [200]


def test_a_long_or_chunked_body_of_a_refused_request_closes_the_connection(server: Running) -> None:
    for head in (CHUNKED % b"/nowhere", b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n"):
        codes, answer = ask(server, head)
        assert codes == [404]
        assert b"connection: close\r\n" in answer


@pytest.mark.parametrize("path", ["/recommend", "/nowhere"])
def test_floods_of_tiny_chunks_keep_no_probe_waiting(server: Running, path: str) -> None:
    slowest = 0.0
    command = [sys.executable, "-c", FLOOD, str(httpx.URL(server[0]).port), path]
    with subprocess.Popen(command) as flood, httpx.Client(base_url=server[0], timeout=20) as client:
        while flood.poll() is None:
            begin = time.monotonic()
            assert client.get("/healthz").status_code == 200
            slowest = max(slowest, time.monotonic() - begin)
            time.sleep(0.02)
    assert flood.returncode == 0
    assert slowest < 2  # 5 s before the server parsed them slice by slice


def test_a_body_may_take_longer_than_a_head_after_an_earlier_request(bundles: Path) -> None:
    settings = {"RQREC_BUNDLE": str(bundles), "RQREC_HEAD_TIMEOUT_S": "1", "RQREC_BODY_TIMEOUT_S": "10"}
    with running_service(settings) as running, connected(running) as connection:
        connection.sendall(post() + post()[:-2])
        time.sleep(0.5)
        connection.sendall(post()[-2:-1])
        time.sleep(2)
        connection.sendall(post()[-1:] + GET_LAST)
        assert statuses(read_all(connection)) == [200, 200, 200]


@pytest.mark.parametrize(("trailer", "codes"), [(b"X-Sum: 1", [200, 200]), (b"Connection: close", [400])])
def test_a_trailer_that_would_end_the_connection_is_refused(server: Running, trailer: bytes, codes: list[int]) -> None:
    request = CHUNKED % b"/recommend" + WHOLE_CHUNK + trailer + b"\r\n\r\n"
    assert ask(server, request + GET_LAST)[0] == codes


def test_http_1_0_has_no_100_continue(server: Running) -> None:
    request = post(BODY, "/recommend", "Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0")
    assert ask(server, request)[0] == [200]
