"""Requests over raw sockets, and the statuses of their answers."""

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

BODY = json.dumps({"history": ["116"], "k": 3}).encode()
Running = tuple[str, "subprocess.Popen[bytes]"]


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
