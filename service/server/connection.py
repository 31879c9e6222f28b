"""One HTTP/1.1 connection: a socket, with a limit on everything that its client can send.

`Connection` replaces uvicorn's own protocol class. Uvicorn's class limits neither the size of headers, nor the number
of pipelined requests, nor the time for which a client may be silent. It also stops reading HTTP when a client offers an
upgrade to another protocol, and treats trailers (headers after the body) as normal headers. `uvicorn.Config(http=...)`
accepts another protocol class.
"""

import asyncio
import functools
import socket
from collections.abc import Callable
from typing import Any, cast

from starlette.types import Scope

from rqrec.service.admission.request_context import RequestContext
from rqrec.service.http.envelope import Refusal
from rqrec.service.ids import Header
from rqrec.service.server.connection_limits import ConnectionLimits
from rqrec.service.server.connection_table import NEVER, ConnectionTable
from rqrec.service.server.exchange import Exchange
from rqrec.service.server.pipeline import Pipeline
from rqrec.service.server.request_parser import RequestParser

# Size of one read from a socket. All connections share one buffer, because a read is parsed before the next one.
READ_BYTES = 16_384
# Bytes that are parsed at once outside of bodies. They bound how many pipelined requests the parser is ahead.
SLICE_BYTES, SLICE_AHEAD_BYTES = 1024, 256
WRITE_BUFFER_BYTES = 16_384  # of answers that the client has not read
KERNEL_BUFFER_BYTES = 131_072  # of answers in the kernel, which would grow its buffer to megabytes
CHUNKED_SLICE_BYTES = 1024  # of a chunked body that are parsed in one turn of the event loop; they may be 200 chunks
LINGER_S = 2.0  # for a client that is still sending to read why its connection closes
_read = memoryview(bytearray(READ_BYTES))
Admit = Callable[[Scope], RequestContext | Refusal]


class Connection(asyncio.BufferedProtocol):
    """One HTTP/1.1 connection: an asyncio protocol for uvicorn's server.

    The requests of a connection are answered one after the other. While one request is answered and another one waits,
    no more bytes are read from the socket. So a client that sends much and reads no answers fills only the buffers on
    its own side, and not the memory of the service.

    Args:
        limits: Limits of this connection.
        table: The table of all open connections.
        admit: Function that gets the ASGI scope of a request, and returns its context, or the answer that refuses it.
        config: Uvicorn's configuration, which has the ASGI app.
        server_state: The state of uvicorn's server: its connections, tasks and counts.
        app_state: The state of the ASGI lifespan.

    Attributes:
        address: The client's IP address; empty if there is none.
        addresses: The values of the keys `client` and `server` of an ASGI scope.
        expires_at: When the connection must be closed, in seconds of the event loop's clock; NEVER while a request is
            answered and the client reads its answer.
        idle_since: When the connection became idle, by the same clock; NEVER while a request is answered.
    """

    def __init__(
        self,
        limits: ConnectionLimits,
        table: ConnectionTable,
        admit: Admit,
        config: Any,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: object = None,
    ) -> None:
        self._limits = limits
        self._table = table
        self._state = server_state
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self.address = ""
        self.addresses: dict[str, tuple[str, int] | None] = {}
        self.expires_at = self.idle_since = NEVER
        self._unparsed = bytearray()
        self._is_reading_paused = self._is_lingering = self._awaits_first_byte = False
        self._next_turn: asyncio.Handle | None = None  # of parsing a chunked body
        self._drained: asyncio.Future[None] | None = None  # pending while the client does not read
        app = config.loaded_app
        self._pipeline = Pipeline(self, admit, app=app, server_state=server_state, app_state=app_state)
        self._parser = RequestParser(self._pipeline, limits.max_head_bytes)

    # Asyncio and uvicorn call these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio for a new connection: adds it to the connection table, or closes it if there is no room."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport does not inherit from asyncio's
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        if (sock := self._transport.get_extra_info("socket")) is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER_BYTES)
        client = _address(self._transport, "peername")
        self.addresses = {"client": client, "server": _address(self._transport, "sockname")}
        self.address = client[0] if client else ""
        if not self._table.add(self):
            self._transport.abort()
            return
        self._state.connections.add(self)
        self.idle_since = self._loop.time()
        self.expires_at = self.idle_since + self._limits.head_timeout_s

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        """Called by asyncio when the connection is closed: cancels its current request."""
        self._state.connections.discard(self)
        self._table.remove(self)
        self._unparsed.clear()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._pipeline.disconnect()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's name
        """Called by asyncio before a read: returns the buffer that gets the bytes. All connections share it."""
        return _read

    def buffer_updated(self, nbytes: int) -> None:
        """Called by asyncio after a read: parses the bytes, or stores them while an earlier request has to wait."""
        if self.is_closing:
            return
        if self._awaits_first_byte:
            self._awaits_first_byte = False
            self.expires_at = self._loop.time() + self._limits.head_timeout_s
        self._unparsed += _read[:nbytes]
        self.read_more()

    def pause_writing(self) -> None:
        """Called by asyncio when the client does not read its answers.

        Starts a time limit. If the client has not read enough when the limit passes, the connection is closed.
        """
        self._drained = self._loop.create_future()
        self.expires_at = self._loop.time() + self._limits.send_timeout_s

    def resume_writing(self) -> None:
        """Called by asyncio when the client reads again: goes on with the current answer, or with the next request."""
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)
        self.expires_at = NEVER
        if self._pipeline.current is None:
            self.await_request(skips_body=self._pipeline.arriving is not None)
            self._pipeline.proceed()

    def shutdown(self) -> None:
        """Called by uvicorn when it stops: closes the connection, after the request that is being answered, if any."""
        if self._pipeline.current is None:
            self.close()
        else:
            self._pipeline.current.keep_alive = False

    def cut_body(self) -> None:
        """Called at shutdown: if the current request's body is still arriving, ends the request with NotReady (503)."""
        self._pipeline.cut_body()

    # The connection table calls these; see `service.server.connection_table.TrackedConnection`.

    def expire(self) -> None:
        """Closes the connection, because its time limit has passed."""
        if self._pipeline.current is not None or self._drained is not None or self.is_closing:
            self.abort()
        else:
            self.close()

    def abort(self) -> None:
        """Closes the connection at once. Bytes that are not sent yet are lost."""
        self._transport.abort()

    # The pipeline and its exchanges call these; see `service.server.pipeline.PipelineTransport`.

    @property
    def default_headers(self) -> list[Header]:
        """The headers that uvicorn adds to every answer, such as the date."""
        headers: list[Header] = self._state.default_headers
        return headers

    @property
    def is_write_paused(self) -> bool:
        """Whether the client is too slow in reading its answers, so that nothing more may be written now."""
        return self._drained is not None

    @property
    def is_closing(self) -> bool:
        """Whether the connection is being closed, so that no further request is accepted."""
        return self._is_lingering or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Sends bytes to the client."""
        self._transport.write(data)

    async def drain(self) -> None:
        """Waits until the client has read enough that more may be written, or has closed the connection."""
        if self._drained is not None:
            await asyncio.shield(self._drained)

    def finish(self, exchange: Exchange) -> None:
        """Called when the answer of `exchange` is complete: starts the next request, or closes the connection."""
        self._pipeline.finish(exchange)

    def begin_answer(self) -> None:
        """Stops the time limits of the connection. Called when the next request is about to be answered."""
        self.expires_at = self.idle_since = NEVER
        self._awaits_first_byte = False

    def await_request(self, *, skips_body: bool = False) -> None:
        """Starts the time limit within which the next request must begin. Called when an answer is complete.

        Args:
            skips_body: Whether a part of the answered request's body has not arrived yet. This part is read and
                dropped. It gets a time limit of its own.
        """
        self.idle_since = self._loop.time()
        if self._drained is None:
            self.expires_at = self.idle_since + (
                self._limits.body_timeout_s if skips_body else self._limits.keep_alive_s
            )
            self._awaits_first_byte = not skips_body

    def close(self, *, linger: bool = False) -> None:
        """Closes the connection as soon as all written bytes are sent.

        Args:
            linger: Whether the client may still be sending. The socket then stays open for LINGER_S seconds, because a
                TCP reset could discard the answer before the client reads it.
        """
        if linger and not self._is_lingering and self._transport.can_write_eof():
            self._is_lingering = True
            self._unparsed.clear()
            self._transport.write_eof()
            self._resume_transport()
            self.expires_at = self._loop.time() + LINGER_S
        else:
            self._transport.close()
            self.expires_at = self._loop.time() + self._limits.send_timeout_s

    def read_more(self) -> None:
        """Parses the received bytes in small slices, and reads more from the socket when all bytes are parsed.

        Stops when a request has to wait, because an earlier one is still being answered. The chunks of a chunked body
        may be as small as one byte, which makes parsing slow. So only one slice of such a body is parsed in one
        iteration of the event loop, and other connections get their turn.
        """
        pipeline = self._pipeline
        if self._next_turn is not None:
            return
        is_turn_over = False
        while self._unparsed and not pipeline.must_wait and not self.is_closing and not is_turn_over:
            is_turn_over = pipeline.arriving is not None and pipeline.arriving.is_chunked
            data = bytes(self._unparsed[: self._slice_bytes])
            del self._unparsed[: len(data)]
            self._unparsed[:0] = self._parser.feed(data)
            if self._parser.fault is not None:
                pipeline.stop_at_fault(self._parser.fault)
        if self.is_closing:
            return
        if pipeline.must_wait or self._unparsed:
            self._transport.pause_reading()
            self._is_reading_paused = True
            if not pipeline.must_wait:
                self._next_turn = self._loop.call_soon(self._begin_turn)
        else:
            self._resume_transport()

    def _begin_turn(self) -> None:
        self._next_turn = None
        self.read_more()

    @property
    def _slice_bytes(self) -> int:
        """How many bytes may be parsed next."""
        arriving = self._pipeline.arriving
        if arriving is not None:
            return CHUNKED_SLICE_BYTES if arriving.is_chunked else READ_BYTES
        return SLICE_BYTES if self._pipeline.current is None else SLICE_AHEAD_BYTES

    def _resume_transport(self) -> None:
        if self._is_reading_paused:
            self._is_reading_paused = False
            self._transport.resume_reading()


def connection_class(limits: ConnectionLimits, table: ConnectionTable, admit: Admit) -> Any:
    """Returns what `uvicorn.Config(http=...)` needs: `Connection` with its first three arguments already given.

    Args:
        limits: Limits of every connection.
        table: The table of all open connections.
        admit: Function that gets the ASGI scope of a request, and returns its context, or the answer that refuses it.
    """
    return functools.partial(Connection, limits, table, admit)


def _address(transport: asyncio.Transport, name: str) -> tuple[str, int] | None:
    found = transport.get_extra_info(name)
    return (str(found[0]), int(found[1])) if isinstance(found, tuple) else None
