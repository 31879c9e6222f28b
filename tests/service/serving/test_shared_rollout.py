"""Replicas follow the rollout in Redis."""

import asyncio
import shutil
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from benchmarks.support.running import RedisServer
from rqrec.models.bundle.layout import SEARCH_GRAPH
from rqrec.service.serving.deployment import Deployment, Rollout
from rqrec.service.serving.model_switch import ModelSwitch
from tests.service.conftest import until
from tests.service.serving.three_models import activate, ask, service


def follow(client: TestClient) -> None:
    """Makes a replica read the rollout in Redis now."""
    assert client.portal is not None
    client.portal.call(client.app.state.runtime.models._follow)  # type: ignore[attr-defined,call-arg]


def test_other_replicas_and_later_ones_follow(three_bundles: Path, redis_server: RedisServer) -> None:
    with service(three_bundles, redis_url=redis_server.url) as one:
        with service(three_bundles, redis_url=redis_server.url) as other:
            activate(one, "second")
            until(lambda: ask(other)["model_version"] == "second")
            activate(other, "third", part="canary", percent=100)
            until(lambda: ask(one)["model_version"] == "third")
        with service(three_bundles, redis_url=redis_server.url) as later:
            assert ask(later)["model_version"] == "third"
            redis_server.stop()
            response = one.post("/models/first/activate")
            assert (response.status_code, response.json()["type"]) == (503, "not-ready")
            assert ask(one)["model_version"] == ask(later)["model_version"] == "third"


def test_a_change_waits_for_the_end_of_one_that_follows_another_replica(
    three_bundles: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_over = ModelSwitch._hand_over

    async def slow_hand_over(switch: ModelSwitch, before: Deployment) -> None:
        await asyncio.sleep(1.0)
        await hand_over(switch, before)

    url = redis_server.url
    with service(three_bundles, redis_url=url) as one, service(three_bundles, redis_url=url) as other:
        monkeypatch.setattr(ModelSwitch, "_hand_over", slow_hand_over)
        activate(one, "second")
        until(lambda: ask(other)["model_version"] == "second")
        activate(other, "third")
        until(lambda: ask(one)["model_version"] == "third")


@pytest.mark.parametrize("roles", ["nonsense", '{"active": 1}', Rollout("gone").to_json()])
def test_roles_that_cannot_be_taken_up_do_not_keep_a_replica_from_serving(
    three_bundles: Path, redis_server: RedisServer, roles: str
) -> None:
    redis_server.client.set("rqrec:roles", roles)
    with service(three_bundles, redis_url=redis_server.url) as client:
        assert ask(client)["model_version"] == "first"


def test_of_two_activations_on_two_replicas_one_is_refused(three_bundles: Path, redis_server: RedisServer) -> None:
    slow = {
        "redis_url": redis_server.url,
        "rollout_poll_s": 600,
        "redis_check_s": 600,
    }  # neither replica polls Redis during the test
    with service(three_bundles, **slow) as one, service(three_bundles, **slow) as other:
        activate(one, "second")
        response = other.post("/models/third/activate")
        assert (response.status_code, response.json()["type"]) == (409, "conflict")
        assert ask(other)["model_version"] == "first"
    with service(three_bundles, redis_url=redis_server.url) as later:
        assert ask(later)["model_version"] == "second"


def test_a_canary_joins_what_other_replicas_serve_and_what_cannot_be_served_here_stays(
    three_bundles: Path, redis_server: RedisServer, tmp_path: Path
) -> None:
    damaged = Path(shutil.copytree(three_bundles, tmp_path / "damaged", symlinks=True))
    url = redis_server.url
    with service(three_bundles, redis_url=url) as one, service(damaged, redis_url=url, rollout_poll_s=600) as other:
        (damaged / "second" / SEARCH_GRAPH).write_bytes(b"")
        activate(one, "second")
        refused = other.post("/models/third/activate", json={"part": "canary", "percent": 100})
        assert refused.status_code == 409  # it has not read the change
        follow(other)
        refused = other.post("/models/third/activate", json={"part": "canary", "percent": 100})
        assert (refused.status_code, "second" in refused.json()["detail"]) == (409, True)
        assert ask(one)["model_version"] == "second"

        shutil.copyfile(three_bundles / "second" / SEARCH_GRAPH, damaged / "second" / SEARCH_GRAPH)
        assert activate(other, "third", part="canary", percent=100)["second"] == "active"
        until(lambda: ask(one)["model_version"] == "third")
        (damaged / "third" / SEARCH_GRAPH).write_bytes(b"")
        activate(other, "first")  # a model that is served here replaces all others
        until(lambda: ask(one)["model_version"] == "first")


@pytest.mark.parametrize("damage", ["deleted", "wrong type", "garbage", "an older state"])
@pytest.mark.parametrize("key", ["rqrec:roles", "rqrec:last-active"])
def test_roles_that_redis_lost_are_put_back(
    three_bundles: Path, redis_server: RedisServer, key: str, damage: str
) -> None:
    redis = redis_server.client
    with service(three_bundles, redis_url=redis_server.url) as one:
        activate(one, "third")
        older = redis.get(key)
        activate(one, "second")
        now = redis.get(key)
        redis.delete(key)
        if damage == "wrong type":
            redis.rpush(key, "x")
        elif damage == "garbage" and key == "rqrec:roles":
            redis.set(key, b"\xff{")
        elif damage == "an older state" and key == "rqrec:roles":
            redis.set(key, str(older))

        def is_back() -> bool:
            try:
                return redis.type(key) == "string" and redis.get(key) == now
            except UnicodeDecodeError:
                return False

        until(is_back)
        with service(three_bundles, redis_url=redis_server.url) as later:
            assert ask(later)["model_version"] == ask(one)["model_version"] == "second"


def test_a_replica_that_meets_an_empty_redis_waits_for_what_the_others_put_back(
    three_bundles: Path, redis_server: RedisServer
) -> None:
    """Invariant R8: a replica does not take a Redis that has lost everything for a first start."""
    with service(three_bundles, redis_url=redis_server.url, rollout_poll_s=0.5) as one:
        activate(one, "second")
        redis_server.client.flushall()
        with service(three_bundles, redis_url=redis_server.url, redis_empty_wait_s=10.0) as other:
            assert other.get("/readyz").json()["model_version"] == "second"


def test_a_first_start_waits_for_nobody_for_long(three_bundles: Path, redis_server: RedisServer) -> None:
    for least_s, wait_s in ((0.3, 0.3), (0.0, 10.0)):  # the second start finds the sign of the first one
        begin = time.monotonic()
        with service(three_bundles, redis_url=redis_server.url, redis_empty_wait_s=wait_s) as one:
            assert one.get("/readyz").status_code == 200
            assert least_s <= time.monotonic() - begin < 8


def test_no_confirmed_activation_is_undone_by_a_rollout_that_is_put_back(
    three_bundles: Path, redis_server: RedisServer
) -> None:
    """Invariant R9: a replica that could not know the older rollout activates a model, and all follow this one."""
    by_hand = {"redis_url": redis_server.url, "rollout_poll_s": 600, "redis_check_s": 600}
    with service(three_bundles, **by_hand) as one:
        for version in ("third", "first", "second"):
            activate(one, version)
        redis_server.client.flushall()
        with service(three_bundles, **by_hand) as other:
            assert ask(other)["model_version"] == "first"
            activate(other, "third")
            for client in (one, other):
                follow(client)
                assert ask(client)["model_version"] == "third"
