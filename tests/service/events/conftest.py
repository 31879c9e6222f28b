from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rqrec.service.events.store import StoreLimits
from tests.service.events.opened_store import OpenedStore

OpenStore = Callable[..., OpenedStore]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "events.sqlite"


@pytest.fixture(params=["sqlite", "redis"])
def open_store(request: pytest.FixtureRequest, file: Path) -> Iterator[OpenStore]:
    """Opens empty stores in an SQLite file, and then in a real Redis."""
    opened: list[OpenedStore] = []

    def open_one(limits: StoreLimits | None = None) -> OpenedStore:
        place = file if request.param == "sqlite" else request.getfixturevalue("redis_server").url
        opened.append(OpenedStore(place, limits or StoreLimits()))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def opened(open_store: OpenStore) -> OpenedStore:
    return open_store()
