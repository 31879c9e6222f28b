"""Short reads that a request waits for, on one connection to Redis that is kept open for them.

For each command, the client of redis-py takes a connection from its pool and checks it, sets a time limit for writing
and another one for reading, and measures. That takes more time than the command. So redis-py only opens the connection
here, and an `asyncio.Protocol` then takes it over: a call is one write, and its answers wake it.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from hiredis import pack_command
from redis.asyncio.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from rqrec.service.redis.answer_line import AnswerLine

Command = tuple[str, ...]


class QuickReads:
    """Runs commands that only read, on a connection of its own. Concurrent calls do not wait for each other.

    Args:
        connection: The connection. It connects at the first call, and again after a failure. Its `socket_timeout` must
            be None.
        timeout_s: Longest wait for a connection, and for all answers of a call, in seconds.
    """

    def __init__(self, connection: Connection, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._line: AnswerLine | None = None
        self._connecting = asyncio.Lock()

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Runs commands in one round trip, and returns the answer of each. Pass this method to `RedisGate.call`.

        Args:
            commands: The words of each command. A failed call is repeated, so a command must not write.

        Raises:
            ResponseError: If Redis answered one of the commands with an error.
            RedisError: If Redis did not answer, also after the retries of the connection.
            OSError: Likewise.
        """
        packed = b"".join(pack_command(words) for words in commands)  # type: ignore[arg-type]  # its stub says one word
        if (line := self._line) is not None and line.is_open:
            with suppress(RedisConnectionError):  # Redis has closed it since the last call: this is no failure yet
                return _checked(await line.ask(packed, len(commands)))
        retry = self._connection.retry
        return await retry.call_with_retry(lambda: self._try(packed, len(commands)), _nothing_to_clean)

    async def close(self) -> None:
        """Closes the connection."""
        async with self._connecting:
            await self._connection.disconnect()

    async def _try(self, packed: bytes, num_answers: int) -> list[Any]:
        async with self._connecting:
            if self._line is None or not self._line.is_open:
                self._line = await self._open()
            line = self._line
        return _checked(await line.ask(packed, num_answers))

    async def _open(self) -> AnswerLine:
        try:
            async with asyncio.timeout(self._timeout_s):
                # First, because a cancelled call may have left a connection of which nobody has read all answers.
                await self._connection.disconnect()
                await self._connection.connect()  # type: ignore[no-untyped-call]
        except TimeoutError as error:  # has no text
            raise TimeoutError(f"Redis took no connection within {self._timeout_s:g} s") from error
        return AnswerLine(self._connection, self._timeout_s)


async def _nothing_to_clean(_: Exception) -> None:
    """A line that fails closes itself."""


def _checked(answers: list[Any]) -> list[Any]:
    """Returns answers, or raises the first one that is an error."""
    for answer in answers:
        if isinstance(answer, RedisError):
            raise answer
    return answers
