import asyncio
import os
from dataclasses import replace
from pathlib import Path

import polars as pl

from benchmarks.chaos.__main__ import Chaos, run
from benchmarks.chaos.caller import TOKEN
from benchmarks.events.export import Export
from benchmarks.support.running import running_redis, running_service
from rqrec.models.bundle.bundle import Bundle

HAPPENED = (
    "restarts of Redis",
    "lost keys",
    "models changed",
    "items written",
    "bursts",
    "events acknowledged",
    "old events sent again",
    "faulty events",
    "lists from memory",
    "lists without what was shown",
    "next pages",
    "users forgotten",
    "clicks counted",
)


def test_nothing_is_wrong_or_lost_while_everything_goes_wrong(bundles: Path) -> None:
    chaos = run(bundles, seconds=20, seed=0)
    assert chaos.faults == []
    assert chaos.counts["sent"] == chaos.counts["answered"] + chaos.counts["shed"] > 500
    assert [name for name in HAPPENED if not chaos.events[name]] == []


def test_wrong_answers_and_what_is_lost_are_noticed(bundle: Bundle, bundles: Path, tmp_path: Path) -> None:
    other = replace(bundle, items=bundle.items.with_columns(pl.col("title") + " as it should be"))
    ghost = {"user_id": "user-ghost", "event_id": "e", "item_id": "1", "type": "view", "at": 1.0}
    with running_redis(tmp_path) as redis:
        settings = {"RQREC_BUNDLE": str(bundles), "RQREC_REDIS_URL": redis.url, "RQREC_ADMIN_TOKEN": TOKEN}
        export = Export({**os.environ, **settings}, tmp_path / "export", Path(os.devnull))
        with running_service(settings) as (url, _):
            # After three seconds every user has acted, on a loaded machine too.
            chaos = Chaos(url, {bundle.manifest.version: other}, redis, export, seconds=3, seed=0)
            chaos.items.believe_written("chaos-9-9", {"title": "confirmed and never written"})
            chaos.users.ledger.send([ghost])
            chaos.users.ledger.acknowledge([ghost])
            chaos.forgetting.believe_gone("user-0")
            asyncio.run(chaos.run())
    assert {kind.partition(":")[0] for kind in chaos.faults} == {"lost", "wrong"}
    faults = "\n".join(chaos.faults)
    for text in (
        "as it should be",
        "chaos-9-9",
        "('user-ghost', 'e') is acknowledged and lost",
        "user-0 was forgotten",
    ):
        assert text in faults
