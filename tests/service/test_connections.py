"""What strangers send over raw sockets: every request is one request, and nothing they send or withhold costs much."""

import json
import re
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from benchmarks.support.resident_memory import resident_mib
from benchmarks.support.running import running_service
from tests.service.conftest import SLOW

BODY = json.dumps({"history": ["116"], "k": 3}).encode()
Running = tuple[str, "subprocess.Popen[bytes]"]


@pytest.fixture(scope="module")
def server(bundles: Path) -> Iterator[Running]:
    """A service that waits for nobody for long."""
    settings = {
        "RQREC_BUNDLE": str(bundles),
        "RQREC_HEAD_TIMEOUT_S": "1",
        "RQREC_BODY_TIMEOUT_S": "1",
        "RQREC_SEND_TIMEOUT_S": "1",
        "RQREC_KEEP_ALIVE_S": "2",
        "RQREC_MAX_BODIES_BYTES": str(4 << 20),
        "RQREC_MAX_CONNECTIONS": "200",
        "RQREC_MAX_CLIENT_CONNECTIONS": "150",
    }
    with running_service(settings) as (url, process):
        yield url, process


@contextmanager
def connected(server: Running, address: str = "127.0.0.1") -> Iterator[socket.socket]:
    port = httpx.URL(server[0]).port or 0
    with socket.create_connection(("127.0.0.1", port), 10, (address, 0)) as connection:
        yield connection


def post(body: bytes = BODY, path: str = "/recommend", *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


GET_LAST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def read_all(connection: socket.socket) -> bytes:
    parts = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def statuses(answers: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def ask(server: Running, request: bytes) -> tuple[list[int], bytes]:
    with connected(server) as connection:
        connection.sendall(request)
        answers = read_all(connection)
    return statuses(answers), answers


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


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
        b"POST /recommend HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /recommend HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"nonsense\r\n\r\n",
    ],
)
def test_what_is_ambiguous_is_refused(server: Running, request_: bytes) -> None:
    codes, answers = ask(server, request_)
    assert codes == [400], answers
    assert b"application/problem+json" in answers


@pytest.mark.parametrize("path", ["%ff", "%fe", "%c3%28", "a%00b", "a%0ab", "%1b[2J", "a%7f", "%ed%a0%80"])
def test_a_path_that_names_no_one_thing_is_invalid(server: Running, path: str) -> None:
    codes, answers = ask(server, f"GET /items/{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert codes == [422], answers


def test_http_1_0_needs_no_host(server: Running) -> None:
    assert ask(server, b"GET /healthz HTTP/1.0\r\n\r\n")[0] == [200]


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
        with pytest.raises(OSError):  # noqa: PT011 - a reset, or a pipe that is broken
            while time.monotonic() - begin < 20:
                try:
                    sent += connection.send(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
                except TimeoutError:
                    continue
    assert resident_mib(server[1].pid) - before < 20


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
    with connected(server) as connection, pytest.raises(OSError):  # noqa: PT011 - closed under the writer
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
        page = httpx.get(f"{server[0]}/metrics").text
    assert re.search(r'rqrec_connections_closed_total{reason="client"} [1-9]', page)


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


def test_logs_cannot_be_forged(bundles: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    settings = {"RQREC_BUNDLE": str(bundles), "RQREC_LOG_REQUESTS": "true"}
    with running_service(settings, log=log) as server:
        for path in ("/a%0aINFO: forged", "/%1b[31mred", "/a%e2%80%a8INFO: forged", "/%c2%85INFO: forged", "/a\x0bb"):
            ask(server, f"GET {path.replace(' ', '%20')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    text = log.read_bytes().decode()
    assert "\x1b" not in text
    assert not any(line.startswith("INFO: forged") for line in text.splitlines())
