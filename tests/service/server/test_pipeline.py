"""Pipelined requests."""

import socket
import time

import pytest

from benchmarks.support.machine import resident_mib
from tests.service.server.raw_sockets import GET_LAST, Running, connected, read_all, statuses


@pytest.mark.parametrize("count", [1, 60, 1500])
def test_pipelined_requests_are_all_answered_in_order(server: Running, count: int) -> None:
    paths = ("/healthz", "/nowhere", "/items/100")
    requests = b"".join(f"GET {paths[n % 3]} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for n in range(count))
    with connected(server) as connection:
        connection.settimeout(60)
        connection.sendall(requests + GET_LAST)
        codes = statuses(read_all(connection))
    assert codes == [(200, 404, 200)[n % 3] for n in range(count)] + [200]


def test_a_client_that_sends_and_never_reads_is_cut_off_and_costs_little(server: Running) -> None:
    before = resident_mib(server[1].pid)
    with connected(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(0.5)
        sent, begin = 0, time.monotonic()
        with pytest.raises(OSError):  # noqa: PT011 - a reset, or a broken pipe
            while time.monotonic() - begin < 20:
                try:
                    sent += connection.send(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
                except TimeoutError:
                    continue
    assert resident_mib(server[1].pid) - before < 20
