"""The clients of the service. They send calls, and repeat a call that failed but may succeed later."""

from collections.abc import Awaitable, Callable
from functools import wraps
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

import httpx
from httpx_retries import Retry, RetryTransport

from rqrec.client import calls
from rqrec.client.call import Call, ServiceUnreachable

P = ParamSpec("P")
ReplyT = TypeVar("ReplyT")
METHODS = ("GET", "POST", "PUT", "DELETE")  # every call may be repeated, POST included: events have ids
RETRIED_STATUSES = (429, 502, 503, 504)
BACKOFF_S, LONGEST_WAIT_S = 0.1, 30.0


def _options(url: str, token: str | None, timeout_s: float) -> tuple[str, dict[str, str], float]:
    headers = {"content-type": "application/json"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return url, headers, timeout_s


def _retry(retries: int) -> Retry:
    return Retry(
        total=retries,
        allowed_methods=METHODS,
        status_forcelist=RETRIED_STATUSES,
        backoff_factor=BACKOFF_S,
        max_backoff_wait=LONGEST_WAIT_S,
    )


def _unreachable(address: httpx.URL, error: httpx.TransportError) -> ServiceUnreachable:
    """One error for all of httpx's; the stacks of httpx below it say nothing more."""
    reason = str(error) or type(error).__name__
    return ServiceUnreachable(f"no answer from {address}: {reason}: start the service there, or correct the address")


def _sync(build: Callable[P, Call[ReplyT]]) -> "Callable[Concatenate[Client, P], ReplyT]":
    @wraps(build)
    def method(self: "Client", /, *arguments: P.args, **options: P.kwargs) -> ReplyT:
        return self.send(build(*arguments, **options))

    return method


def _async(build: Callable[P, Call[ReplyT]]) -> "Callable[Concatenate[AsyncClient, P], Awaitable[ReplyT]]":
    @wraps(build)
    async def method(self: "AsyncClient", /, *arguments: P.args, **options: P.kwargs) -> ReplyT:
        return await self.send(build(*arguments, **options))

    return method


class Client:
    """A synchronous client of the service. It has one method for each function of `rqrec.client.calls`.

    Each of these methods sends the call and returns its answer, such as a `RecommendReply`. It raises `ProblemError` if
    the service answers with an error, and `ServiceUnreachable` if there is no answer.

    Args:
        url: Address of the service, such as http://localhost:8000.
        token: The admin token; None if no call needs it.
        timeout_s: Longest wait for a connection, and for each part of an answer, in seconds. It begins anew with each
            repetition of a call.
        retries: How often a call is repeated at most if the service is busy, unreachable or restarting. The pause
            before a repetition is the answer's Retry-After. Without one it is random, up to a limit that doubles each
            time.
        transport: An httpx transport that replaces the network in tests; None for the network.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = 10.0,
        retries: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        base_url, headers, timeout = _options(url, token, timeout_s)
        sending = RetryTransport(transport or httpx.HTTPTransport(), _retry(retries))
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=timeout, transport=sending)

    def send(self, call: Call[ReplyT]) -> ReplyT:
        """Sends a call of `rqrec.client.calls` and returns its answer."""
        try:
            response = self._http.request(call.method, call.path, content=call.content, params=call.query)
        except httpx.TransportError as error:
            raise _unreachable(self._http.base_url, error) from None
        return call.read(response)

    recommend = _sync(calls.recommend)
    item = _sync(calls.item)
    semantic_id = _sync(calls.semantic_id)
    items_below = _sync(calls.items_below)
    similar = _sync(calls.similar)
    search = _sync(calls.search)
    attributes = _sync(calls.attributes)
    tree = _sync(calls.tree)
    item_map = _sync(calls.item_map)
    put_item = _sync(calls.put_item)
    delete_item = _sync(calls.delete_item)
    models = _sync(calls.models)
    activate = _sync(calls.activate)
    send_events = _sync(calls.send_events)
    user = _sync(calls.user)
    forget_user = _sync(calls.forget_user)
    readiness = _sync(calls.readiness)
    evaluation = _sync(calls.evaluation)

    def close(self) -> None:
        """Closes the connections to the service."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient:
    """An asynchronous client of the service. It has the parameters and methods of `Client`; its methods are awaited."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = 10.0,
        retries: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        base_url, headers, timeout = _options(url, token, timeout_s)
        sending = RetryTransport(transport or httpx.AsyncHTTPTransport(), _retry(retries))
        self._http = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=timeout, transport=sending)

    async def send(self, call: Call[ReplyT]) -> ReplyT:
        """Sends a call of `rqrec.client.calls` and returns its answer."""
        try:
            response = await self._http.request(call.method, call.path, content=call.content, params=call.query)
        except httpx.TransportError as error:
            raise _unreachable(self._http.base_url, error) from None
        return call.read(response)

    recommend = _async(calls.recommend)
    item = _async(calls.item)
    semantic_id = _async(calls.semantic_id)
    items_below = _async(calls.items_below)
    similar = _async(calls.similar)
    search = _async(calls.search)
    attributes = _async(calls.attributes)
    tree = _async(calls.tree)
    item_map = _async(calls.item_map)
    put_item = _async(calls.put_item)
    delete_item = _async(calls.delete_item)
    models = _async(calls.models)
    activate = _async(calls.activate)
    send_events = _async(calls.send_events)
    user = _async(calls.user)
    forget_user = _async(calls.forget_user)
    readiness = _async(calls.readiness)
    evaluation = _async(calls.evaluation)

    async def close(self) -> None:
        """Closes the connections to the service."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
