"""Short reads that a request waits for, on one connection to Redis that is kept open for them.

For each command, the client of redis-py takes a connection from its pool and checks it, sets a time limit for writing
and another one for reading, and measures. That takes more time than the command. Here a call has one time limit, and
all its commands go to Redis in one write.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from hiredis import pack_command
from redis.asyncio.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

Command = tuple[str, ...]


class QuickReads:
    """Runs commands that only read, on a connection of its own. Concurrent calls wait for each other.

    Args:
        connection: The connection. It connects at the first call, and again after a failure. Its `socket_timeout` must
            be None.
        timeout_s: Longest wait for a connection, and for all answers of a call, in seconds.
    """

    def __init__(self, connection: Connection, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()

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
        async with self._turn:
            retry = self._connection.retry
            try:
                answers = await retry.call_with_retry(
                    lambda: self._try(packed, len(commands)), lambda _: self._connection.disconnect()
                )
            except TimeoutError as error:  # has no text
                raise RedisTimeoutError(f"Redis did not answer within {self._timeout_s:g} s") from error
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise answer
        return answers

    async def close(self) -> None:
        """Closes the connection."""
        async with self._turn:
            await self._connection.disconnect()

    async def _try(self, packed: bytes, num_answers: int) -> list[Any]:
        if self._connection.is_connected:
            try:
                return await self._exchange(packed, num_answers)
            except RedisConnectionError:  # Redis has closed it since the last call: this is no failure yet
                await self._connection.disconnect()
        async with asyncio.timeout(self._timeout_s):
            await self._connection.connect()  # type: ignore[no-untyped-call]
        return await self._exchange(packed, num_answers)

    async def _exchange(self, packed: bytes, num_answers: int) -> list[Any]:
        """Sends commands and reads as many answers. An error of Redis is an answer, so that none is left unread."""
        answers: list[Any] = []
        async with asyncio.timeout(self._timeout_s):
            await self._connection.send_packed_command(packed, check_health=False)
            while len(answers) < num_answers:
                try:
                    answers.append(await self._connection.read_response())
                except ResponseError as error:
                    answers.append(error)
        return answers
