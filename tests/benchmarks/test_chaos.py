import asyncio
from dataclasses import replace
from pathlib import Path

import polars as pl

from benchmarks.chaos import TOKEN, Chaos, run
from benchmarks.support.running import running_redis, running_service
from rqrec.models.bundle.bundle import Bundle


def test_nothing_is_wrong_or_lost_while_everything_goes_wrong(bundles: Path) -> None:
    chaos = run(bundles, seconds=20, seed=0)
    assert chaos.faults == []
    assert chaos.counts["sent"] == chaos.counts["answered"] + chaos.counts["shed"] > 500
    assert (
        min(
            chaos.events[name]
            for name in ("restarts of Redis", "lost keys", "models changed", "items written", "bursts")
        )
        > 0
    )


def test_a_wrong_answer_and_a_lost_change_are_noticed(bundle: Bundle, bundles: Path, tmp_path: Path) -> None:
    other = replace(bundle, items=bundle.items.with_columns(pl.col("title") + " as it should be"))
    with running_redis(tmp_path) as redis:
        settings = {"RQREC_BUNDLE": str(bundles), "RQREC_REDIS_URL": redis.url, "RQREC_ADMIN_TOKEN": TOKEN}
        with running_service(settings) as (url, _):
            chaos = Chaos(url, {bundle.manifest.version: other}, redis, seconds=1, seed=0)
            chaos.believe_written("chaos-9-9", {"title": "confirmed and never written"})
            asyncio.run(chaos.run())
    assert chaos.counts["wrong"] > 0
    assert chaos.counts["lost"] == 1
