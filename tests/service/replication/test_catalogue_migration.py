"""Changes of an older model are migrated to a newer one, by several replicas and several times."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from benchmarks.support.running import RedisServer
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.catalogue.changes import Delete, Put
from rqrec.service.catalogue.snapshot import Snapshot
from rqrec.service.replication.catalogue_migration import CatalogueMigration
from rqrec.service.replication.change_log import ChangeLog
from rqrec.service.telemetry import Metrics
from tests.service.replication.replicas import Replica, agree, contents, keys, two_replicas
from tests.service.replication.replicas import put as put_without_vector


def put(item_id: str, content: int, published: Snapshot, tokenizer: ItemTokenizer) -> Put:
    vector = json.dumps({"text_vector": [content / 10] * tokenizer.text_width})
    return replace(put_without_vector(item_id, content, published, tokenizer), hidden=vector)


def payloads(snapshot: Snapshot) -> dict[str, str]:
    return {item_id: payload for item_id, (payload, _) in contents(snapshot).items()}


def migration(
    replica: Replica, published: Snapshot, tokenizer: ItemTokenizer, pool: ThreadPoolExecutor
) -> CatalogueMigration:
    log = ChangeLog(replica.gate, published.version)
    return CatalogueMigration(replica.gate, log, published, replica.live, tokenizer, Metrics(), pool)


@pytest.mark.parametrize("is_saved", [False, True], ids=["from the stream", "from the entries"])
def test_a_change_that_is_migrated_again_changes_nothing(
    published: Snapshot, tokenizer: ItemTokenizer, redis_server: RedisServer, is_saved: bool
) -> None:
    """Invariant I14: migrating is idempotent. Invariant I6: a later change of the newer model holds."""
    newer = replace(published, version="newer")
    save = {"catalogue_save_every": 2 if is_saved else 1000}

    async def scenario() -> None:
        with ThreadPoolExecutor(1) as pool:
            async with (
                two_replicas(published, tokenizer, redis_server, **save) as (old, _),
                two_replicas(newer, tokenizer, redis_server) as replicas,
            ):
                for number in range(5):
                    await old.live.write(put(f"item {number}", number, published, tokenizer))
                await old.live.write(Delete("item 0"))
                await old.live.write(Delete("100"))
                one, other = (migration(replica, newer, tokenizer, pool) for replica in replicas)
                await one.begin(published.version)
                await asyncio.gather(one.step(), other.step())
                await agree(replicas)
                assert payloads(replicas[0].live.snapshot) == payloads(old.live.snapshot)
                await replicas[0].live.write(put("item 1", 9, newer, tokenizer))  # later than the older model's change
                await agree(replicas)
                expected = contents(replicas[0].live.snapshot)
                for _ in range(2):
                    await one.step()
                    redis_server.client.delete(keys(newer)["carried"])  # the next step migrates everything again
                    await other.step()
                    await agree(replicas)
                    assert contents(replicas[0].live.snapshot) == expected

    asyncio.run(scenario())
