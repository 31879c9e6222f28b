import asyncio

from benchmarks.support.running import RedisServer
from rqrec.service.composition import redis_options
from rqrec.service.redis.client import RedisGate
from rqrec.service.redis.lock import Lock
from rqrec.service.telemetry import Metrics
from tests.service.conftest import settings_for


def test_the_lock_of_another_replica_is_left_alone(redis_server: RedisServer) -> None:
    async def scenario() -> None:
        gate = RedisGate(redis_options(settings_for(redis_server.folder, redis_url=redis_server.url)), Metrics())
        one, other = Lock(gate, "lock", 0.05), Lock(gate, "lock", 5)
        async with one.held() as is_held:
            assert is_held
            await asyncio.sleep(0.1)
            async with other.held() as is_other_held:
                assert is_other_held
                assert not await one.keep()
                async with one.held() as again:
                    assert not again
                assert redis_server.client.get("lock") == other.token
        await gate.close()

    asyncio.run(scenario())
