"""One HTTP/1.1 connection: requests are answered in order, and everything that its client can send has a bound.

Stands in the place of uvicorn's own protocol, which bounds neither headers nor pipelined requests nor silence, takes an
Upgrade for the end of HTTP and lets trailers be headers. It uses what uvicorn documents: a protocol class, given as
`uvicorn.Config(http=...)`.
"""

import asyncio
import functools
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from starlette.types import Scope

from rqrec.service.admission.request_context import CONTEXT, RequestContext
from rqrec.service.errors import ClientGone, NotReady
from rqrec.service.http.envelope import Refusal
from rqrec.service.http.problems import problem_response
from rqrec.service.ids import Header
from rqrec.service.server.connection_table import NEVER, ConnectionTable
from rqrec.service.server.exchange import Exchange
from rqrec.service.server.request_parser import RequestHead, RequestParser
from rqrec.service.server.scope import scope_of
from rqrec.service.settings import Settings

# One read of a socket, into a buffer that all connections share: what is read is parsed before the next read.
READ_BYTES = 16_384
# Parsed at once, apart from bodies: bounds how many pipelined requests are read ahead of the one that is answered.
SLICE_BYTES, SLICE_AHEAD_BYTES = 1024, 256
WRITE_BUFFER_BYTES = 16_384  # of answers that the client has not read
KERNEL_BUFFER_BYTES = 131_072  # the same in the kernel, which would grow it to megabytes
LINGER_S = 2.0  # for a client that is still sending to read why its connection is being closed
CONTINUE = b"100-continue"
_read = memoryview(bytearray(READ_BYTES))


class Front(NamedTuple):
    """What all connections share.

    Attributes:
        settings: Their bounds.
        table: Of all of them.
        admit: Lets a request in, or gives the answer that refuses it.
    """

    settings: Settings
    table: ConnectionTable
    admit: Callable[[Scope], RequestContext | Refusal]


class Connection(asyncio.BufferedProtocol):
    """One connection, for uvicorn's server.

    Requests are answered one after the other. While one is answered and another one is there, nothing more is parsed or
    read, so what a client sends without reading answers stays in its own buffers.

    Args:
        front: What all connections share.
        config: Uvicorn's, whose app answers.
        server_state: Uvicorn's, which counts connections and tasks.
        app_state: Of the app's lifespan.
    """

    def __init__(
        self, front: Front, config: Any, server_state: Any, app_state: dict[str, Any], _loop: object = None
    ) -> None:
        self._front = front
        self._app = config.loaded_app
        self._state = server_state
        self._app_state = app_state
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._addresses: dict[str, tuple[str, int] | None] = {}
        self.address = ""
        self.expires_at = self.idle_since = NEVER
        self._unparsed = bytearray()
        self._current: Exchange | None = None  # is being answered
        self._context: RequestContext | None = None  # of that
        self._arriving: Exchange | None = None  # its body is arriving
        self._queue: deque[Exchange] = deque()
        self._is_starting = self._is_paused = self._is_lingering = self._awaits_head = False
        self._drained: asyncio.Future[None] | None = None
        self._parser = RequestParser(self, front.settings.max_head_bytes)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Lists the connection, or closes it where there is no place."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one but by inheritance
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        if (sock := self._transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER_BYTES)
        client = _address(self._transport, "peername")
        self._addresses = {"client": client, "server": _address(self._transport, "sockname")}
        self.address = client[0] if client else ""
        if not self._front.table.add(self):
            self._transport.abort()
            return
        self._state.connections.add(self)
        self.idle_since = self._loop.time()
        self.expires_at = self.idle_since + self._front.settings.head_timeout_s

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        """Ends what is done for the client."""
        self._state.connections.discard(self)
        self._front.table.remove(self)
        self._unparsed.clear()
        self._queue.clear()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self._current is not None:
            self._current.disconnect()
        if self._context is not None:
            self._context.end(ClientGone())

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's name
        """Where the next read goes."""
        return _read

    def buffer_updated(self, nbytes: int) -> None:
        """Parses what came, as far as it may be parsed now."""
        if self._is_lingering or self._transport.is_closing():
            return
        if self._awaits_head:
            self._awaits_head = False
            self.expires_at = self._loop.time() + self._front.settings.head_timeout_s
        self._unparsed += _read[:nbytes]
        self._parse()

    def pause_writing(self) -> None:
        """The client does not read."""
        self._drained = self._loop.create_future()
        self.expires_at = self._loop.time() + self._front.settings.send_timeout_s

    def resume_writing(self) -> None:
        """The client has read."""
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)
        self.expires_at = NEVER
        if self._current is None:
            self._await_request()
            self._go_on()

    def shutdown(self) -> None:
        """Uvicorn asks for the end: after the answer that is under way, if one is."""
        if self._current is None:
            self._close()
        else:
            self._current.keep_alive = False

    def cut_body(self) -> None:
        """Ends a request whose body is still arriving: the service shuts down."""
        if self._context is not None and self._context.is_reading:
            self._context.end(NotReady("the service is shutting down"))

    def expire(self) -> None:
        """See `Listed`."""
        if self._current is not None or self._drained is not None or self._is_lingering or self._transport.is_closing():
            self.abort()
        else:
            self._close()

    def abort(self) -> None:
        """See `Listed` and `Wire`."""
        self._transport.abort()

    # What the parser calls; see `service.server.request_parser.RequestHandler`.

    def begin_request(self, head: RequestHead) -> None:
        """A request is admitted, refused, or queued behind the one that is being answered."""
        scope = scope_of(head, addresses=self._addresses, state=self._app_state)
        expects = any(name == b"expect" and value.lower() == CONTINUE for name, value in head.headers)
        self._arriving = Exchange(scope, self, keep_alive=head.keep_alive, expects_continue=expects)
        self._queue.append(self._arriving)
        self._start_next()

    def take_body(self, data: bytes) -> None:
        """A part of the body."""
        if self._arriving is not None:
            self._arriving.feed(data)

    def end_request(self) -> None:
        """The request is whole."""
        exchange, self._arriving = self._arriving, None
        if exchange is not None:
            exchange.feed_end()
            if exchange.is_complete and self._current is None:
                self._await_request()

    # What an exchange calls; see `service.server.exchange.Wire`.

    @property
    def default_headers(self) -> list[Header]:
        """Uvicorn's, such as the date."""
        headers: list[Header] = self._state.default_headers
        return headers

    @property
    def is_write_paused(self) -> bool:
        """Whether the client does not read."""
        return self._drained is not None

    def write(self, data: bytes) -> None:
        """Sends bytes."""
        self._transport.write(data)

    async def drain(self) -> None:
        """Returns once the client has read enough, or has gone."""
        if self._drained is not None:
            await asyncio.shield(self._drained)

    def resume_reading(self) -> None:
        """The app has taken the body so far."""
        self._parse()

    def finish(self, exchange: Exchange) -> None:
        """The answer is complete: the next request's turn."""
        self._state.total_requests += 1
        self._current = self._context = None
        if not exchange.keep_alive:
            self._close(linger=not exchange.is_body_complete)
            return
        self._await_request()
        if (
            not exchange.is_body_complete and self._drained is None
        ):  # what is left of the body is read past, for a while
            self._awaits_head = False
            self.expires_at = self.idle_since + self._front.settings.body_timeout_s
        self._go_on()

    # Its own steps.

    def _await_request(self) -> None:
        self.idle_since = self._loop.time()
        if self._drained is None:
            self.expires_at = self.idle_since + self._front.settings.keep_alive_s
            self._awaits_head = True

    def _close(self, *, linger: bool = False) -> None:
        """Closes once all is sent; lingers for a client that still sends, which a reset would keep from reading."""
        if linger and not self._is_lingering and self._transport.can_write_eof():
            self._is_lingering = True
            self._unparsed.clear()
            self._transport.write_eof()
            self._read_on()
            self.expires_at = self._loop.time() + LINGER_S
        else:
            self._transport.close()
            self.expires_at = self._loop.time() + self._front.settings.send_timeout_s

    def _go_on(self) -> None:
        if not self._is_starting:
            self._start_next()
            self._parse()

    def _parse(self) -> None:
        """Parses slice by slice until there is nothing left, or what is there has to wait."""
        while self._unparsed and not self._has_to_wait:
            size = READ_BYTES if self._arriving else SLICE_BYTES if self._current is None else SLICE_AHEAD_BYTES
            data = bytes(self._unparsed[:size])
            del self._unparsed[:size]
            self._unparsed[:0] = self._parser.feed(data)
            if self._parser.fault is not None:
                self._stop_at_fault(self._parser.fault)
        if not self._transport.is_closing() and not self._is_lingering:
            if self._has_to_wait:
                self._transport.pause_reading()
                self._is_paused = True
            else:
                self._read_on()

    def _stop_at_fault(self, fault: Exception) -> None:
        """Nothing after this can be parsed: ends the request whose body it is in, else it gets an answer of its own."""
        if self._arriving is not None and self._arriving is self._current and self._context is not None:
            self._current.keep_alive = False
            self._context.end(fault)
        else:
            self._start_next()

    @property
    def _has_to_wait(self) -> bool:
        is_full = self._arriving is not None and self._arriving.is_full
        is_over = self._parser.fault is not None or self._is_lingering or self._transport.is_closing()
        return bool(self._queue) or is_full or is_over

    def _read_on(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    def _start_next(self) -> None:
        """Starts requests one after the other, as long as each is answered at once and the client reads."""
        if self._is_starting:
            return
        self._is_starting = True
        try:
            while self._current is None and self._drained is None and not self._transport.is_closing():
                if self._queue:
                    self._start(self._queue.popleft())
                elif self._parser.fault is not None and not self._is_lingering:
                    self._answer_fault(self._parser.fault)
                else:
                    return
        finally:
            self._is_starting = False

    def _start(self, exchange: Exchange) -> None:
        self._current = exchange
        self.expires_at = self.idle_since = NEVER
        admitted = self._front.admit(exchange.scope)
        if isinstance(admitted, Refusal):
            exchange.answer(*admitted)
            return
        self._context = exchange.scope[CONTEXT] = admitted
        task = self._loop.create_task(exchange.run(self._app))
        self._state.tasks.add(task)
        task.add_done_callback(functools.partial(self._note_done, admitted))

    def _note_done(self, context: RequestContext, task: "asyncio.Task[None]") -> None:
        self._state.tasks.discard(task)
        context.release()

    def _answer_fault(self, error: Exception) -> None:
        """Says what was wrong with what cannot be parsed any further, and closes."""
        scope = {"type": "http", "method": "GET", "http_version": "1.1"}
        self._current = exchange = Exchange(scope, self, keep_alive=False, expects_continue=False)
        response = problem_response(error, "")
        exchange.answer(response.status_code, list(response.raw_headers), bytes(response.body))


def connection_class(front: Front) -> Any:
    """What `uvicorn.Config` takes as `http`."""
    return functools.partial(Connection, front)


def _address(transport: asyncio.Transport, name: str) -> tuple[str, int] | None:
    found = transport.get_extra_info(name)
    return (str(found[0]), int(found[1])) if isinstance(found, tuple) else None
