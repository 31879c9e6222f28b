"""A connection to Redis whose answers wake the calls that wait for them."""

import asyncio
from collections import deque
from typing import Any

import hiredis
from redis.asyncio.connection import Connection, DefaultParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse
from typing_extensions import override

NOTHING = object()
PUSHED: type | tuple[()] = getattr(hiredis, "PushNotification", ())  # since hiredis 3.2


class _Asked:
    """A call that waits for answers."""

    __slots__ = ("answers", "deadline", "done", "num_missing")

    def __init__(self, num_answers: int, done: "asyncio.Future[list[Any]]", deadline: float) -> None:
        self.num_missing = num_answers
        self.answers: list[Any] = []
        self.done = done
        self.deadline = deadline  # in the time of the event loop


class AnswerLine(asyncio.Protocol):
    """Takes over an open connection of redis-py, and gives the answers to the calls in the order of their commands.

    The answer of a cancelled call is dropped. After a failure, or if a call gets no answer in time, the connection is
    closed and all its calls fail.

    Args:
        connection: The connection, with no answer unread.
        timeout_s: Longest wait for all answers of a call, in seconds.
    """

    def __init__(self, connection: Connection, timeout_s: float) -> None:
        writer = connection._writer  # redis-py has no public way to its transport
        assert writer is not None, "the connection must be open"
        self._transport = writer.transport
        self._streams = self._transport.get_protocol()
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        encoder = connection.encoder
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=DefaultParser.parse_error,
            encoding=encoder.encoding,
            errors=encoder.encoding_errors,
            notEnoughData=NOTHING,
        )
        self._asked = deque[_Asked]()
        self._timer: asyncio.TimerHandle | None = None
        self._transport.set_protocol(self)

    @property
    def is_open(self) -> bool:
        """Whether calls may be made."""
        return not self._transport.is_closing()

    def ask(self, packed: bytes, num_answers: int) -> "asyncio.Future[list[Any]]":
        """Sends commands. Call it only while the line is open.

        Args:
            packed: The commands as Redis reads them.
            num_answers: How many commands these are.

        Returns:
            The answers, among them errors of Redis. If they do not come, the future raises TimeoutError or RedisError.
        """
        done: asyncio.Future[list[Any]] = self._loop.create_future()
        deadline = self._loop.time() + self._timeout_s
        self._asked.append(_Asked(num_answers, done, deadline))
        self._transport.write(packed)
        if self._timer is None:  # one for all calls, because setting and cancelling one for each takes longer
            self._timer = self._loop.call_at(deadline, self._check_time)
        return done

    @override
    def data_received(self, data: bytes) -> None:
        """Reads answers."""
        self._reader.feed(data)
        try:
            while (answer := self._reader.gets()) is not NOTHING:
                if not isinstance(answer, PUSHED):
                    self._take(answer)
        except InvalidResponse as error:
            self._fail(error)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Fails the calls that wait, and tells redis-py."""
        self._streams.connection_lost(exc)
        self._fail(RedisConnectionError("Redis closed the connection"))

    def _take(self, answer: Any) -> None:
        if not self._asked:
            raise InvalidResponse("an answer to no command")
        first = self._asked[0]
        first.answers.append(answer)
        first.num_missing -= 1
        if not first.num_missing:
            self._asked.popleft()
            if not first.done.done():
                first.done.set_result(first.answers)

    def _check_time(self) -> None:
        self._timer = None
        if not self._asked:
            return
        deadline = self._asked[0].deadline
        if deadline <= self._loop.time():
            self._fail(TimeoutError(f"Redis did not answer within {self._timeout_s:g} s"))
        else:
            self._timer = self._loop.call_at(deadline, self._check_time)

    def _fail(self, error: Exception) -> None:
        self._transport.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._asked:
            done = self._asked.popleft().done
            if not done.done():
                done.set_exception(error)
