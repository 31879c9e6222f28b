import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, ResponseError

from rqrec.service.redis.answer_line import AnswerLine

TIMEOUT_S = 0.05


class FakeTransport:
    """A transport that sends nothing."""

    def __init__(self) -> None:
        self.is_aborted = False
        self.streams = asyncio.Protocol()

    def get_protocol(self) -> asyncio.Protocol:
        return self.streams

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return self.is_aborted

    def write(self, data: bytes) -> None:
        assert not self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True


def open_line() -> AnswerLine:
    connection = Connection(encoding="utf-8", encoding_errors="replace", decode_responses=True)
    connection._writer = cast("Any", SimpleNamespace(transport=FakeTransport()))
    line = AnswerLine(connection, TIMEOUT_S)
    connection._writer = None  # redis-py warns of a connection that was not closed
    return line


@given(
    calls=st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=8),
    cuts=st.lists(st.integers(1, 7), min_size=1),
    pushed_before=st.integers(0, 7),
)
def test_each_call_gets_the_answers_to_its_commands(
    calls: list[tuple[int, bool]], cuts: list[int], pushed_before: int
) -> None:
    """Answers arrive in any pieces, some calls are cancelled, and Redis says something that nobody has asked."""

    async def scenario() -> None:
        line, answers, stream = open_line(), list[asyncio.Future[list[Any]]](), b""
        for place, (num_answers, _) in enumerate(calls):
            answers.append(line.ask(b"", num_answers))
            stream += b">1\r\n+pushed\r\n" * (place == pushed_before)
            stream += b"".join(b"*2\r\n:%d\r\n$2\r\n\xc3\xa9\r\n" % (10 * place + n) for n in range(num_answers))
        for answer, (_, is_cancelled) in zip(answers, calls, strict=True):
            if is_cancelled:
                answer.cancel()
        begin, turn = 0, 0
        while begin < len(stream):
            end = begin + cuts[turn % len(cuts)]
            line.data_received(stream[begin:end])
            begin, turn = end, turn + 1
        for place, (num_answers, is_cancelled) in enumerate(calls):
            if not is_cancelled:
                assert answers[place].result() == [[10 * place + n, "é"] for n in range(num_answers)]
        assert line.is_open

    asyncio.run(scenario())


def test_an_error_is_an_answer() -> None:
    async def scenario() -> None:
        line = open_line()
        one, other = line.ask(b"", 2), line.ask(b"", 1)
        line.data_received(b"-WRONGTYPE no list\r\n+good\r\n+PONG\r\n")
        error, good = await one
        assert isinstance(error, ResponseError)
        assert (good, await other) == ("good", ["PONG"])

    asyncio.run(scenario())


def test_every_call_has_its_own_time_limit_and_a_late_one_closes_the_line() -> None:
    async def scenario() -> None:
        line, loop = open_line(), asyncio.get_running_loop()
        early = line.ask(b"", 1)
        await asyncio.sleep(TIMEOUT_S / 2)
        line.data_received(b"+in time\r\n")
        begin = loop.time()
        late = line.ask(b"", 1)
        with pytest.raises(TimeoutError):
            await late
        assert loop.time() - begin > TIMEOUT_S - 0.001
        assert await early == ["in time"]
        assert not line.is_open

    asyncio.run(scenario())


@pytest.mark.parametrize("stream", [b"?no answer of Redis\r\n", b"+PONG\r\n+to no command\r\n"])
def test_what_cannot_be_understood_closes_the_line(stream: bytes) -> None:
    async def scenario() -> None:
        line = open_line()
        asked = [line.ask(b"", 1)]
        line.data_received(stream)
        assert not line.is_open
        assert asked[0].result() == ["PONG"] if b"PONG" in stream else isinstance(asked[0].exception(), InvalidResponse)

    asyncio.run(scenario())


def test_all_calls_fail_when_the_connection_is_lost() -> None:
    async def scenario() -> None:
        line = open_line()
        asked = [line.ask(b"", 1), line.ask(b"", 3)]
        line.data_received(b"+one\r\n+half\r\n")
        line.connection_lost(None)
        assert await asked[0] == ["one"]
        with pytest.raises(RedisConnectionError):
            await asked[1]

    asyncio.run(scenario())
