"""Bytes that hostile clients send on a connection: upgrades, trailers, half or endless requests, pipelines, garbage."""

import random
from collections.abc import Callable
from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Act:
    """The bytes that a stranger sends on one connection.

    Attributes:
        parts: Bytes, with a pause between two parts.
        requests: Largest number of answers that the bytes may get.
        reads: Whether the stranger reads answers.
        pause_s: Pause between two parts, in seconds.
    """

    parts: tuple[bytes, ...]
    requests: int
    reads: bool = True
    pause_s: float = 0.0


def _head(*headers: str, line: str = "POST /recommend HTTP/1.1") -> bytes:
    return "\r\n".join([line, "Host: x", *headers]).encode() + b"\r\n\r\n"


def _post(body: bytes, *headers: str) -> bytes:
    return _head(f"Content-Length: {len(body)}", *headers) + body


def _upgrade(rng: random.Random, body: bytes) -> Act:
    offer = rng.choice(("h2c", "websocket", "TLS/1.2", "x", "h2c, websocket"))
    smuggled = rng.choice((_head(line="GET /healthz HTTP/1.1"), body, b"\x00\x01", b""))
    return Act((_post(smuggled, "Connection: Upgrade", f"Upgrade: {offer}"),), 1)


def _trailers(rng: random.Random, body: bytes) -> Act:
    trailers = rng.choice(
        (b"Authorization: Bearer x\r\n", b"a: b\r\n" * 100_000, b"a: " + b"b" * MIB, b"Upgrade: h2c\r\n")
    )
    return Act((_head("Transfer-Encoding: chunked"), b"%x\r\n%b\r\n0\r\n" % (len(body), body), trailers + b"\r\n"), 1)


def _half(rng: random.Random, body: bytes) -> Act:
    whole = _post(body)
    return Act((whole[: rng.randrange(len(whole))],), 1)


def _trickle(rng: random.Random, body: bytes) -> Act:
    whole = _post(body)
    return Act(tuple(whole[n : n + 1] for n in range(rng.randrange(len(whole)))), 1, pause_s=rng.choice((0.001, 0.2)))


def _endless(rng: random.Random, _body: bytes) -> Act:
    start = rng.choice((b"GET /", b"GET / HTTP/1.1\r\nA: ", b"GET / HTTP/1.1\r\n", _head("Content-Length: 1000000")))
    return Act((start, *[rng.choice((b"a", b"a: b\r\n", b" ")) * 65_536] * rng.randrange(1, 60)), 1)


def _pipeline(rng: random.Random, body: bytes) -> Act:
    count = rng.randrange(2, 2000)
    one = rng.choice((_head(line="GET /healthz HTTP/1.1"), _head(line="GET /nowhere HTTP/1.1"), _post(body)))
    return Act((one * count,), count, reads=rng.random() < 0.5)


def _garbage(rng: random.Random, body: bytes) -> Act:
    whole = bytearray(_post(body))
    for _ in range(rng.randrange(1, 8)):
        whole[rng.randrange(len(whole))] = rng.randrange(256)
    return Act((bytes(whole),), 3)


def _nothing(_rng: random.Random, _body: bytes) -> Act:
    return Act((), 0)


ACTS: dict[str, Callable[[random.Random, bytes], Act]] = {
    act.__name__.strip("_"): act
    for act in (_upgrade, _trailers, _half, _trickle, _endless, _pipeline, _garbage, _nothing)
}
