"""Commands on a real Ray cluster of two nodes, of which one is killed in the middle. What they write is whole."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from rqrec.training.features.features import FEATURES
from rqrec.training.features.text import TEXTS_OF_A_PART
from rqrec.training.run import Run, RunSettings
from rqrec.training.runtime.config import read_settings
from rqrec.training.runtime.workspace import open_workspace
from rqrec.training.tokenize_items import CODES
from tests.conftest import SMALL_CONFIG
from tests.ray.nodes import RAY, RayNode, RayNodes, ray_nodes
from tests.service.bulk.conftest import lists_in, random_histories

REPOSITORY = Path(__file__).parents[2]
USERS, ITEMS = 16_000, 10 * TEXTS_OF_A_PART
WITHIN_S = 200.0
PART_TAKES_S = 0.25

pytestmark = pytest.mark.skipif(not RAY.exists(), reason="the extra ray is not installed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayNodes]:
    with ray_nodes() as nodes:
        yield nodes


class SlowEncoder:
    """A text encoder that takes a while. The vector of a text depends on the text alone."""

    def encode(self, sentences: list[str], *, batch_size: int, show_progress_bar: bool) -> NDArray[np.float32]:
        time.sleep(PART_TAKES_S)
        return np.array([[*sha256(text.encode()).digest()[:8]] for text in sentences], dtype=np.float32)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_a_worker_of_each(first: RayNode, other: RayNode) -> None:
    """Halts the first worker until there is one of the other node too. Alone, it could make all parts before that."""
    wait_for(first.workers)
    halted = first.workers()
    for pid in halted:
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(other.workers)
    finally:
        for pid in halted:
            os.kill(pid, signal.SIGCONT)


def run_and_kill_a_node(cluster: RayNodes, words: list[str], has_a_part: Callable[[], bool]) -> str:
    """Runs a command of `rqrec` on two nodes, kills one when the first part is there, and returns what is printed."""
    command = [sys.executable, "-m", "rqrec", *words, "--ray", cluster.address]
    with cluster.another() as other:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=cluster.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        wait_for_a_worker_of_each(cluster.head, other)
        wait_for(has_a_part)
        assert process.poll() is None, "the command must not end before the node is killed"
        other.kill()
        told = process.communicate(timeout=WITHIN_S)[0]
    assert process.returncode == 0, told
    return told


def test_bulk_lists_are_whole(cluster: RayNodes, bundles: Path, tmp_path: Path) -> None:
    random_histories(USERS).write_parquet(tmp_path / "in.parquet")
    out = tmp_path / "out"
    words = ["bulk", "--bundle", str(bundles), "--k", "2", "--out", str(out)]
    words += ["--histories", str(tmp_path / "in.parquet")]
    told = run_and_kill_a_node(cluster, words, lambda: any(out.glob("lists/part-*")))
    assert f"{USERS:,} users: {USERS:,} lists with {2 * USERS:,} items" in told
    lists = lists_in(out)
    assert len(lists) == USERS
    assert {len(one) for one in lists.values()} == {2}
    assert not list(out.rglob(".*"))


def write_catalogue(folder: Path) -> None:
    folder.mkdir()
    items = pl.DataFrame({"item_id": pl.int_range(ITEMS, eager=True).cast(pl.String)})
    items.with_columns(title="an item named " + pl.col("item_id")).write_parquet(folder / "items.parquet")
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(200), 5)
    bought = rng.integers(0, ITEMS, len(users)).astype(str)
    pl.DataFrame({"user_id": users, "item_id": bought, "timestamp": np.arange(len(users))}).write_parquet(
        folder / "interactions.parquet"
    )


def test_the_tokens_of_a_catalogue_are_those_of_one_process(cluster: RayNodes, tmp_path: Path) -> None:
    shop, config = tmp_path / "shop", tmp_path / "small.gin"
    write_catalogue(shop)
    encoder = f"FeatureSettings.text_encoder = '{__name__}:SlowEncoder'"
    config.write_text("\n".join([*SMALL_CONFIG, f"DatasetSettings.source = '{shop}'", encoder]))
    alone, together = tmp_path / "alone", tmp_path / "together"
    with open_workspace(alone, tmp_path) as workspace:
        assert Run(workspace, read_settings(RunSettings, [config], [])).tokens.is_current
    shutil.copytree(alone, together)  # with its RQ-VAE, so that Ray need not train one
    for stage in ("features", "semantic_ids"):
        shutil.rmtree(together / stage)
    words = ["tokenize-items", str(config), "--work-dir", str(together), "--data-dir", str(tmp_path)]
    run_and_kill_a_node(cluster, words, lambda: any(together.glob("features-checkpoints/*/part-*")))
    for file in (Path("features") / FEATURES, Path("semantic_ids") / CODES):
        assert (together / file).read_bytes() == (alone / file).read_bytes()
    assert not list(together.glob("*-checkpoints"))
