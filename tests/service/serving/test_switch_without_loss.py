"""No confirmed write is missing after a change of the model, whatever Redis loses meanwhile."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from fastapi.testclient import TestClient

from benchmarks.support.running import RedisServer
from tests.service.serving.three_models import activate, service

REPLICATION, SERVING = "rqrec.service.replication", "rqrec.service.serving"
STEPS = {
    "the rollout is read": f"{SERVING}.shared_rollout.SharedRollout.last_active",
    "the migration begins": f"{REPLICATION}.catalogue_migration.CatalogueMigration.begin",
    "the older log is looked at": f"{REPLICATION}.catalogue_migration.CatalogueMigration._next_changes",
    "changes are appended": f"{REPLICATION}.change_log.ChangeLog.append_all",
    "appended changes are read": f"{REPLICATION}.live_catalogue.LiveCatalogue.catch_up",
    "the rollout is stored": f"{SERVING}.shared_rollout.SharedRollout.store",
    "the former model stops": f"{REPLICATION}.live_catalogue.LiveCatalogue.stop",
}


def is_there(client: TestClient, item_id: str) -> bool:
    return client.get(f"/items/{item_id}").status_code == 200


def emptying(server: RedisServer, call: Callable[..., Any], times: int) -> Callable[..., Any]:
    """The call, with Redis emptied before each of the first `times` calls."""
    left = [times]

    async def emptied(*arguments: Any, **named: Any) -> Any:
        if left[0]:
            left[0] -= 1
            server.client.flushall()
        return await call(*arguments, **named)

    return emptied


def resolved(path: str) -> tuple[Any, str, Any]:
    module, kind, name = path.rsplit(".", 2)
    owner = getattr(__import__(module, fromlist=[kind]), kind)
    return owner, name, getattr(owner, name)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("step", STEPS)
def test_redis_emptied_during_an_activation_loses_nothing(
    three_bundles: Path,
    redis_server: RedisServer,
    film: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    times: int,
) -> None:
    """Invariants I10 and I14: a replica migrates from its own memory, not only from what Redis holds."""
    quiet = {"catalogue_poll_s": 60.0, "rollout_poll_s": 600, "redis_check_s": 600.0}  # nothing is put back by chance
    with service(three_bundles, redis_url=redis_server.url, **quiet) as client:
        for number in range(6):
            assert client.put(f"/items/new-{number}", json=film).status_code == 201
        assert client.delete("/items/new-0").status_code == 204
        assert client.delete("/items/100").status_code == 204
        owner, name, call = resolved(STEPS[step])
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, emptying(redis_server, call, times))
            activate(client, "second")
        assert [is_there(client, f"new-{number}") for number in range(6)] == [False] + [True] * 5
        assert not is_there(client, "100")
        activate(client, "third")
        assert [is_there(client, f"new-{number}") for number in range(6)] == [False] + [True] * 5


@pytest.mark.parametrize("is_saved", [False, True], ids=["in the stream", "in the entries"])
@pytest.mark.parametrize("is_behind", [False, True], ids=["written at the former model", "written at the next model"])
def test_a_confirmed_item_can_be_deleted_at_a_replica_that_serves_another_model(
    three_bundles: Path, redis_server: RedisServer, film: dict[str, Any], is_behind: bool, is_saved: bool
) -> None:
    """Invariant I16: a DELETE decides after it has read all change logs to their ends."""
    save = 2 if is_saved else 1000
    quiet = {"redis_url": redis_server.url, "rollout_poll_s": 600, "redis_check_s": 600.0, "catalogue_save_every": save}
    with service(three_bundles, **quiet) as ahead, service(three_bundles, **quiet) as behind:
        activate(ahead, "second")
        writer, deleter = (ahead, behind) if is_behind else (behind, ahead)
        for number in range(5):
            item_id = f"new-{number}"
            assert writer.put(f"/items/{item_id}", json=film).status_code == 201
            assert not is_there(deleter, item_id)
            assert deleter.delete(f"/items/{item_id}").status_code == 204
            assert not is_there(deleter, item_id)
            assert deleter.delete(f"/items/{item_id}").status_code == 404
        assert writer.delete("/items/never").status_code == 404
        assert not any(is_there(writer, f"new-{number}") for number in range(5))
        activate(ahead, "third")
        assert not any(is_there(ahead, f"new-{number}") for number in range(5))


def test_what_a_replica_has_confirmed_stays_while_it_changes_the_model(
    three_bundles: Path, redis_server: RedisServer, film: dict[str, Any]
) -> None:
    """Invariant R7: a confirmed write is there at once, also in the next model."""
    done, wrong = Event(), list[tuple[str, str, int]]()

    with service(three_bundles, redis_url=redis_server.url) as client:

        def write(thread: int) -> int:
            number = 0
            while not done.is_set() and number < 2000:
                path = f"/items/new-{thread}-{number}"
                number += 1
                steps = [("put", 201), ("get", 200), ("delete", 204), ("get", 404)]
                for method, expected in steps:
                    status = client.request(method, path, json=film if method == "put" else None).status_code
                    if status != expected:
                        wrong.append((method, path, status))
            return number

        with ThreadPoolExecutor(3) as pool:
            writes = [pool.submit(write, thread) for thread in range(3)]
            for version in ("second", "first", "third", "first", "second"):
                activate(client, version)
            done.set()
        assert all(one.result() > 1 for one in writes)
    assert wrong == []
