from dataclasses import replace

import pytest

from benchmarks.soak.__main__ import Minute, faults_of
from benchmarks.soak.store_size import StoreSize
from benchmarks.support.wrk import Measured

LOAD = Measured(32, rps=100.0, shed_rps=0.0, sent_rps=100.0, p50_ms=1.0, p99_ms=2.0, p999_ms=3.0, errors=0)
STORE = StoreSize(records=10, entries=500, impressions=6000, event_ids=10**6, mib=20.0)
MINUTES = [Minute(LOAD, mib, STORE) for mib in (150.0, 200.0, 205.0, 209.0)]


def test_memory_that_grows_less_than_a_twentieth_after_the_warm_up_is_flat() -> None:
    assert faults_of(MINUTES, num_readers=10) == []


@pytest.mark.parametrize(
    ("last", "fault"),
    [
        (replace(MINUTES[-1], resident_mib=211.0), "memory grew from 200.0 to 211.0 MiB after the warm-up"),
        (replace(MINUTES[-1], load=replace(LOAD, errors=1)), "1 requests were answered with an error"),
        (replace(MINUTES[-1], store=replace(STORE, entries=10_551)), "10551 entries, but at most 10550"),
        (replace(MINUTES[-1], store=replace(STORE, impressions=9001)), "9001 impressions are stored, but at most 9000"),
    ],
)
def test_what_grows_or_fails_is_noticed(last: Minute, fault: str) -> None:
    (found,) = faults_of([*MINUTES[:-1], last], num_readers=10)
    assert fault in found
