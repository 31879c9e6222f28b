"""Bulk lists on a real Ray cluster of two nodes, of which one is killed."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.service.bulk.conftest import lists_in, random_histories
from tests.service.bulk.ray_nodes import RAY, RayNode, two_nodes

REPOSITORY = Path(__file__).parents[3]
USERS = 16_000
WITHIN_S = 200.0


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_a_worker_of_each(nodes: Sequence[RayNode]) -> None:
    """Halts the first worker until there is one of the other node too. Alone, it could make all lists before that."""
    first, other = nodes
    wait_for(first.workers)
    halted = first.workers()
    for pid in halted:
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(other.workers)
    finally:
        for pid in halted:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.skipif(not RAY.exists(), reason="the extra ray is not installed")
def test_a_node_is_killed_and_the_lists_are_whole(bundles: Path, tmp_path: Path) -> None:
    random_histories(USERS).write_parquet(tmp_path / "in.parquet")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "rqrec", "bulk", "--bundle", str(bundles), "--k", "2", "--out", str(out)]
    command += ["--histories", str(tmp_path / "in.parquet"), "--ray"]
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, two_nodes(Path(folder)) as (address, environment, nodes):
        process = subprocess.Popen(
            [*command, address], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True
        )
        wait_for_a_worker_of_each(nodes)
        wait_for(lambda: any(out.glob("lists/part-*")))
        assert process.poll() is None, "the command must not end before the node is killed"
        nodes[1].kill()
        told = process.communicate(timeout=WITHIN_S)[0]
    assert process.returncode == 0
    assert f"{USERS:,} users: {USERS:,} lists with {2 * USERS:,} items" in told
    lists = lists_in(out)
    assert len(lists) == USERS
    assert {len(one) for one in lists.values()} == {2}
    assert not list(out.rglob(".*"))
