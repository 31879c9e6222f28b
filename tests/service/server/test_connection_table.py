"""Limits on the number of connections."""

import re
import resource
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx

from benchmarks.support.running import running_service
from tests.service.server.raw_sockets import BODY, Running, connected

CLOSED = r'rqrec_connections_closed_total{reason="client"} [1-9]'
WITHIN_S = 20.0


def test_a_flood_of_connections_keeps_nobody_out(server: Running) -> None:
    with ExitStack() as stack:
        for number in range(400):
            with suppress(OSError):
                stack.enter_context(connected(server, f"127.0.0.{2 + number % 5}"))
        assert httpx.get(f"{server[0]}/healthz").status_code == 200
        assert httpx.post(f"{server[0]}/recommend", content=BODY).status_code == 200
        page = httpx.get(f"{server[0]}/metrics").text
    assert re.search(r"rqrec_connections [1-9][0-9]?[0-9]?\.0", page)
    assert re.search(r'rqrec_connections_closed_total{reason="displaced"} [1-9]', page)


def test_one_address_has_a_share_of_the_connections(server: Running) -> None:
    with ExitStack() as stack:
        for _ in range(200):
            with suppress(OSError):
                stack.enter_context(connected(server, "127.0.0.9"))
        deadline = time.monotonic() + WITHIN_S  # the server accepts connections one after the other
        while not re.search(CLOSED, httpx.get(f"{server[0]}/metrics").text):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_there_are_never_more_connections_than_the_system_allows(bundles: Path) -> None:
    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))

    script = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300)); import runpy; "
    module = ("-c", script + "runpy.run_module('service', run_name='__main__')")
    with running_service({"RQREC_BUNDLE": str(bundles)}, module=module) as server, ExitStack() as stack:
        for _ in range(400):
            with suppress(OSError):
                stack.enter_context(connected(server))
        assert httpx.get(f"{server[0]}/healthz").status_code == 200
