import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable

import pytest
import uvloop
from redis.exceptions import ResponseError

from benchmarks.support.running import RedisServer
from rqrec.service.redis.client import RedisGate, RedisRefused, RedisUnavailable
from rqrec.service.redis.options import RedisOptions
from rqrec.service.redis.quick_reads import QuickReads
from rqrec.service.telemetry import Metrics

TIMEOUT_S = 0.3


def with_reads(url: str, work: Callable[[RedisGate, QuickReads], Awaitable[None]]) -> None:
    """Runs the work with a gate that repeats no failed call, with the event loops of Python and of uvicorn."""

    async def run() -> None:
        gate = RedisGate(RedisOptions(url, TIMEOUT_S, retries=0, max_connections=4, pause_s=0.0), Metrics())
        assert gate.quick_reads is not None
        try:
            await work(gate, gate.quick_reads)
        finally:
            await gate.close()

    asyncio.run(run())
    uvloop.run(run())


def test_an_error_of_redis_leaves_no_answer_unread(redis_server: RedisServer) -> None:
    redis_server.client.rpush("a", "1", "é")
    redis_server.client.set("text", "no list")

    async def work(gate: RedisGate, reads: QuickReads) -> None:
        list_of = {key: ("LRANGE", key, "0", "-1") for key in ("a", "text", "nobody")}
        with pytest.raises(RedisRefused, match="WRONGTYPE"):
            await gate.call(reads.run, [list_of["text"], list_of["a"]])
        with pytest.raises(ResponseError):
            await reads.run([list_of["a"], list_of["text"]])
        calls = [reads.run([list_of[key]]) for key in ("nobody", "a")]
        assert await asyncio.gather(*calls) == [[[]], [["1", "é"]]]
        assert await reads.run([list_of["a"], list_of["nobody"]]) == [["1", "é"], []]

    with_reads(redis_server.url, work)


def test_a_redis_that_was_started_again_is_read_without_a_failure(redis_server: RedisServer) -> None:
    async def work(_: RedisGate, reads: QuickReads) -> None:
        assert await reads.run([("PING",)]) == ["PONG"]
        redis_server.stop()
        redis_server.start()
        assert await reads.run([("PING",)]) == ["PONG"]

    with_reads(redis_server.url, work)


def test_calls_that_lose_their_connection_together_all_get_their_answers(redis_server: RedisServer) -> None:
    async def work(_: RedisGate, reads: QuickReads) -> None:
        assert await reads.run([("PING",)]) == ["PONG"]
        redis_server.client.client_kill_filter(_type="normal", skipme=True)
        calls = [reads.run([("ECHO", f"{number}")]) for number in range(20)]
        assert await asyncio.gather(*calls) == [[f"{number}"] for number in range(20)]

    with_reads(redis_server.url, work)


def test_a_redis_that_stands_still_fails_in_time_and_its_late_answer_is_nobodys(redis_server: RedisServer) -> None:
    pid = redis_server.client.info("server")["process_id"]

    async def work(gate: RedisGate, reads: QuickReads) -> None:
        assert await reads.run([("ECHO", "before")]) == ["before"]
        os.kill(pid, signal.SIGSTOP)
        try:
            begin = time.monotonic()
            with pytest.raises(RedisUnavailable, match=f"Redis did not answer within {TIMEOUT_S} s"):
                await gate.call(reads.run, [("ECHO", "late")])
            assert time.monotonic() - begin < 2 * TIMEOUT_S + 1
        finally:
            os.kill(pid, signal.SIGCONT)
        assert await reads.run([("ECHO", "after")]) == ["after"]

    with_reads(redis_server.url, work)


def test_the_answer_of_a_cancelled_call_is_nobodys(redis_server: RedisServer) -> None:
    async def work(_: RedisGate, reads: QuickReads) -> None:
        for place in range(6):
            call = asyncio.create_task(reads.run([("ECHO", "cancelled")]))
            for _turn in range(place):
                await asyncio.sleep(0)
            call.cancel()
            assert await reads.run([("ECHO", f"{place}")]) == [f"{place}"]

    with_reads(redis_server.url, work)


@pytest.mark.parametrize("url", ["redis+sentinel://localhost:1/main", "redis+cluster://localhost:1"])
def test_sentinels_and_clusters_are_read_with_the_pool_that_knows_their_servers(url: str) -> None:
    async def make() -> RedisGate:
        return RedisGate(RedisOptions(url, TIMEOUT_S, retries=0, max_connections=4, pause_s=0.0), Metrics())

    assert asyncio.run(make()).quick_reads is None
