"""Answers the requests of one connection one after the other, in the order of their arrival.

A client may send several requests before it reads the first answer (HTTP pipelining). A request is started when the
answer to the request before it is complete.
"""

import asyncio
import functools
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from starlette.types import ASGIApp, Scope

from rqrec.service.admission.request_context import CONTEXT, RequestContext
from rqrec.service.errors import ClientGone, NotReady
from rqrec.service.http.envelope import Refusal
from rqrec.service.http.problems import problem_response
from rqrec.service.server.exchange import Exchange, ExchangeTransport
from rqrec.service.server.request_parser import RequestHead
from rqrec.service.server.scope import scope_of

CONTINUE = b"100-continue"


class PipelineTransport(ExchangeTransport, Protocol):
    """Interface of a connection, as far as `Pipeline`, which answers its requests in order, uses it.

    Attributes:
        addresses: The values of the keys `client` and `server` of an ASGI scope.
    """

    addresses: dict[str, tuple[str, int] | None]

    @property
    def is_closing(self) -> bool:
        """Whether the connection is being closed, so that no further request is accepted."""

    def begin_answer(self) -> None:
        """Stops the time limits of the connection. Called when the next request is about to be answered."""

    def await_request(self, *, skips_body: bool = False) -> None:
        """Starts the time limit within which the next request must begin. Called when an answer is complete.

        Args:
            skips_body: Whether a part of the answered request's body has not arrived yet. This part is read and
                dropped. It gets a time limit of its own.
        """

    def close(self, *, linger: bool = False) -> None:
        """Closes the connection as soon as all written bytes are sent.

        Args:
            linger: Whether the client may still be sending. The socket then stays open for a moment, so that the client
                can read the answer.
        """


class Pipeline:
    """Answers the requests of one connection one after the other.

    It is the `RequestHandler` to which the connection's parser passes the requests.

    Args:
        transport: The connection.
        admit: Function that gets the ASGI scope of a request, and returns its context, or the answer that refuses it.
        app: The ASGI app that answers.
        server_state: The state of uvicorn's server: its connections, tasks and counts.
        app_state: The state of the ASGI lifespan. Each request gets a copy.

    Attributes:
        current: The request that is being answered; None between two requests.
        arriving: The request whose body is arriving; None if no body is arriving. It may be the current request, one
            that waits, or one that is already answered.
    """

    __slots__ = (
        "_admit", "_app", "_app_state", "_context", "_fault", "_is_starting", "_loop", "_queue", "_state", "_transport",
        "arriving", "current",
    )  # fmt: skip

    def __init__(
        self,
        transport: PipelineTransport,
        admit: Callable[[Scope], RequestContext | Refusal],
        *,
        app: ASGIApp,
        server_state: Any,
        app_state: dict[str, Any],
    ) -> None:
        self.current: Exchange | None = None
        self.arriving: Exchange | None = None
        self._transport = transport
        self._admit = admit
        self._app = app
        self._state = server_state
        self._app_state = app_state
        self._loop = asyncio.get_running_loop()
        self._context: RequestContext | None = None  # of the current request
        self._queue: deque[Exchange] = deque()
        self._fault: Exception | None = None
        self._is_starting = False

    @property
    def must_wait(self) -> bool:
        """Whether no more bytes of the connection may be parsed now.

        This is so while a request waits for the answers before it, while the app is slow in reading a body, and after
        an error in parsing.
        """
        return bool(self._queue) or self._fault is not None or (self.arriving is not None and self.arriving.is_full)

    # The parser calls these three; see `service.server.request_parser.RequestHandler`.

    def begin_request(self, head: RequestHead) -> None:
        """Called by the parser: queues a request, and starts it if no other request is being answered."""
        scope = scope_of(head, addresses=self._transport.addresses, state=self._app_state)
        headers = dict(head.headers)
        self.arriving = Exchange(
            scope,
            self._transport,
            keep_alive=head.keep_alive,
            expects_continue=head.version == "1.1" and headers.get(b"expect", b"").lower() == CONTINUE,
            is_chunked=b"transfer-encoding" in headers,
            body_bytes=int(headers.get(b"content-length", 0)),
        )
        self._queue.append(self.arriving)
        self.start_next()

    def take_body(self, data: bytes) -> None:
        """Called by the parser: passes a part of a body to the request that it belongs to."""
        if self.arriving is not None:
            self.arriving.feed(data)

    def end_request(self) -> None:
        """Called by the parser: marks the body of the arriving request as complete."""
        exchange, self.arriving = self.arriving, None
        if exchange is not None:
            exchange.feed_end()
            if exchange.is_complete and self.current is None:
                self._transport.await_request()

    # The connection calls these.

    def start_next(self) -> None:
        """Starts the next request in the queue, unless one is being answered or the client does not read its answers.

        If the request is refused, its answer is complete at once. Then the following request is started too, and so on.
        """
        if self._is_starting:
            return
        self._is_starting = True
        transport = self._transport
        try:
            while self.current is None and not transport.is_write_paused and not transport.is_closing:
                if self._queue:
                    self._start(self._queue.popleft())
                elif self._fault is not None:
                    self._answer_fault(self._fault)
                else:
                    return
        finally:
            self._is_starting = False

    def proceed(self) -> None:
        """Starts the next request in the queue, then parses the received bytes that had to wait until it started."""
        if not self._is_starting:
            self.start_next()
            self._transport.read_more()

    def finish(self, exchange: Exchange) -> None:
        """Ends a request whose answer is complete. Then starts the next request, or closes the connection.

        The connection stays open if `exchange.keep_alive` is true.

        Args:
            exchange: The request with its answer.
        """
        self._state.total_requests += 1
        self.current = self._context = None
        if exchange.keep_alive:
            self._transport.await_request(skips_body=not exchange.is_body_complete)
            self.proceed()
        else:
            self._transport.close(linger=not exchange.is_body_complete)

    def stop_at_fault(self, fault: Exception) -> None:
        """Handles bytes that cannot be parsed: accepts no further request on this connection.

        If these bytes are in the body of the current request, this request ends with the error `fault`. Otherwise the
        earlier requests are answered first. Then the client gets an error answer that says what is wrong, and the
        connection is closed.

        Args:
            fault: Why the bytes cannot be parsed.
        """
        self._fault = fault
        if self.arriving is not None and self.arriving is self.current and self._context is not None:
            self.current.keep_alive = False
            self._context.end(fault)
        else:
            self.start_next()

    def cut_body(self) -> None:
        """Called at shutdown: if the current request's body is still arriving, ends the request with NotReady (503)."""
        if self._context is not None and self._context.is_reading:
            self._context.end(NotReady("the service is shutting down"))

    def disconnect(self) -> None:
        """Cancels the current request and drops the queued requests. Called when the connection is closed."""
        self._queue.clear()
        if self.current is not None:
            self.current.disconnect()
        if self._context is not None:
            self._context.end(ClientGone())

    def _start(self, exchange: Exchange) -> None:
        """Refuses a request at once, or runs the app in a task."""
        self.current = exchange
        self._transport.begin_answer()
        admitted = self._admit(exchange.scope)
        if isinstance(admitted, Refusal):
            exchange.answer(*admitted)
            return
        self._context = exchange.scope[CONTEXT] = admitted
        task = self._loop.create_task(exchange.run(self._app))
        self._state.tasks.add(task)
        task.add_done_callback(functools.partial(self._end_task, admitted))

    def _end_task(self, context: RequestContext, task: "asyncio.Task[None]") -> None:
        self._state.tasks.discard(task)
        context.release()

    def _answer_fault(self, error: Exception) -> None:
        """Tells the client why its bytes cannot be parsed, and closes."""
        scope = {"type": "http", "method": "GET", "http_version": "1.1"}
        self.current = exchange = Exchange(scope, self._transport, keep_alive=False)
        response = problem_response(error, "")
        exchange.answer(response.status_code, list(response.raw_headers), bytes(response.body))
