"""Sends the requests of all clients, counts the answers, and keeps a list of what was wrong."""

import asyncio
from collections import Counter
from types import TracebackType
from typing import Any, Self

import httpx

TOKEN = "chaos"  # noqa: S105 - of a service that listens to this process only
SHED = (429, 503, 504)
UNCONFIRMED_S = 60.0  # Redis is never down for so long here
RETRY_S = 0.2
KEPT_ALIVE = 32


class Caller:
    """Sends requests to the service.

    Args:
        url: The service's address.

    Attributes:
        counts: Requests sent, answered and shed (429, 503, 504), wrong answers, and what was lost.
        events: How often each thing happened, by name.
        faults: Descriptions of what was wrong or lost.
    """

    def __init__(self, url: str) -> None:
        self.counts: Counter[str] = Counter(dict.fromkeys(("sent", "answered", "shed", "wrong", "lost"), 0))
        self.events: Counter[str] = Counter()
        self.faults: list[str] = []
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=KEPT_ALIVE)
        headers = {"authorization": f"Bearer {TOKEN}"}
        self._client = httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=60)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def ask(self, method: str, path: str, *, needs_store: bool = True, **content: Any) -> httpx.Response | None:
        """Sends a request. Returns the answer, or None if the request was shed or lost.

        Args:
            method: The method.
            path: The path.
            needs_store: Whether the request may be refused with 503 while Redis is away.
            content: The body, as for httpx.
        """
        self.counts["sent"] += 1
        try:
            response = await self._client.request(method, path, **content)
        except httpx.TransportError as error:
            self.fault("lost", f"{method} {path}: {error!r}")
            return None
        if response.status_code in SHED:
            self.counts["shed"] += 1
            if response.status_code == httpx.codes.TOO_MANY_REQUESTS and "retry-after" not in response.headers:
                self.fault("wrong", f"{method} {path}: 429 without Retry-After")
            if response.status_code == httpx.codes.SERVICE_UNAVAILABLE and not needs_store:
                self.fault("wrong", f"{method} {path} needs no store: {response.status_code} {response.text}")
            return None
        self.counts["answered"] += 1
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            self.fault("wrong", f"{method} {path}: {response.status_code} {response.text}")
        return response

    async def ask_until_answered(self, method: str, path: str, **content: Any) -> httpx.Response:
        """Repeats a request until it is answered. While Redis is unavailable, the service sheds what needs it."""
        async with asyncio.timeout(UNCONFIRMED_S):
            while (response := await self.ask(method, path, **content)) is None:
                await asyncio.sleep(RETRY_S)
        return response

    def fault(self, kind: str, text: str) -> None:
        """Counts and describes a fault.

        Args:
            kind: "wrong" or "lost".
            text: What happened.
        """
        self.counts[kind] += 1
        self.faults.append(f"{kind}: {text}")
