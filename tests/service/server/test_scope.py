"""Requests whose meaning is ambiguous are refused."""

import pytest

from tests.service.server.raw_sockets import BODY, GET_LAST, Running, ask


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


@pytest.mark.parametrize("codings", [["gzip, chunked"], ["gzip", "chunked"], ["identity, chunked"]])
def test_a_body_with_another_transfer_coding_is_not_read(server: Running, codings: list[str]) -> None:
    lines = ["POST /recommend HTTP/1.1", "Host: a", *(f"Transfer-Encoding: {one}" for one in codings)]
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    codes, answers = ask(server, "\r\n".join(lines).encode() + b"\r\n\r\n" + body + GET_LAST)
    assert codes == [501], answers
    assert b"unknown-coding" in answers


@pytest.mark.parametrize("length", [1_048_577, 99_999_999, 2**63 - 1])
def test_a_body_over_the_limit_is_refused_before_it_is_sent(server: Running, length: int) -> None:
    head = f"POST /recommend HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
    codes, answers = ask(server, head.encode())
    assert codes == [413], answers
    assert b"connection: close" in answers


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "CHUNKED "])
def test_the_coding_chunked_is_read(server: Running, coding: str) -> None:
    head = f"POST /recommend HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n".encode()
    codes, answers = ask(server, head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY) + GET_LAST)
    assert codes == [200, 200], answers


@pytest.mark.parametrize("path", ["%ff", "%fe", "%c3%28", "a%00b", "a%0ab", "%1b[2J", "a%7f", "%ed%a0%80"])
def test_a_path_that_names_no_one_thing_is_invalid(server: Running, path: str) -> None:
    codes, answers = ask(server, f"GET /items/{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert codes == [422], answers


def test_http_1_0_needs_no_host(server: Running) -> None:
    assert ask(server, b"GET /healthz HTTP/1.0\r\n\r\n")[0] == [200]
