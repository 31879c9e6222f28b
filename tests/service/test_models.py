"""Several bundles: switching, trials, and what a switch must not lose."""

import asyncio
import gc
import logging
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient

from benchmarks.support.running import RedisServer
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.models.tokenizer.featurizer import TEXT
from rqrec.service.app import create_app
from rqrec.service.redis.client import RedisUnavailable
from rqrec.service.serving.deployment import Role, Rollout
from rqrec.service.serving.served_model import ServedModel
from tests.service.conftest import settings_for, until, write_variant

TOKEN = "a-secret-token"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
HISTORY = ["116", "117", "118"]


@contextmanager
def service(bundles: Path, **fields: object) -> Iterator[TestClient]:
    fields = {"admin_token": TOKEN, "redis_timeout_s": 2.0, "redis_check_s": 0.05, **fields}
    with TestClient(create_app(settings_for(bundles, **fields)), headers=HEADERS) as client:
        yield client


@pytest.fixture
def client(three_bundles: Path) -> Iterator[TestClient]:
    with service(three_bundles) as client:
        yield client


@pytest.fixture(scope="module")
def film(bundle: Bundle) -> dict[str, Any]:
    block = ItemTokenizer(bundle).featurizer.given_block(TEXT)
    assert block is not None
    attributes = {"title": "Horror 900 (1985)", "genres": ["Horror"], "year": 1985}
    return {"attributes": attributes, "text_vector": list(np.linspace(-1, 1, block.width))}


def ask(client: TestClient, **fields: object) -> dict[str, Any]:
    response = client.post("/recommend", json={"history": HISTORY, "k": 5, **fields})
    assert response.status_code == 200, response.text
    reply: dict[str, Any] = response.json()
    assert_whole(reply)
    return reply


def assert_whole(reply: dict[str, Any]) -> None:
    """Every item of an answer is as the model that it names holds it."""
    assert reply["items"]
    assert all(item["payload"]["title"].endswith(f" of {reply['model_version']}") for item in reply["items"])


def activate(client: TestClient, version: str, **body: object) -> dict[str, str | None]:
    response = client.post(f"/models/{version}/activate", json=body or None)
    assert response.status_code == 200, response.text
    return {model["version"]: model["part"] for model in response.json()["models"]}


def samples(client: TestClient, name: str) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if line.startswith(name)}


def test_a_model_is_activated_and_rolled_back(client: TestClient) -> None:
    before = ask(client)
    assert before["model_version"] == "first"
    assert activate(client, "second") == {"first": None, "second": "active", "third": None}
    after = ask(client)
    assert after["model_version"] == "second"
    assert [item["item_id"] for item in after["items"]] == [item["item_id"] for item in before["items"]]
    assert client.get("/readyz").json()["model_version"] == "second"
    assert client.get("/items/116/semantic-id").json()["model_version"] == "second"
    assert samples(client, "rqrec_model_info") == {'rqrec_model_info{version="second"}': 1}
    assert activate(client, "first")["first"] == "active"
    assert ask(client)["model_version"] == "first"
    assert samples(client, 'rqrec_model_reload_total{result="loaded"}').popitem()[1] == 3


def test_models_are_listed_with_what_is_wrong_with_them(client: TestClient, three_bundles: Path) -> None:
    manifest = three_bundles / "third" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("third", "other"))
    first, second, third = client.get("/models").json()["models"]
    assert (first["version"], first["part"], first["num_items"], first["fault"]) == ("first", "active", 64, None)
    assert first["metrics"]["rqrec"]["recall@10"] > 0
    assert second["part"] is None
    assert third["fault"].endswith("copy or publish the bundle again")


def test_a_model_that_cannot_be_used_changes_nothing(client: TestClient, three_bundles: Path, bundle: Bundle) -> None:
    golden = [{**one, "scores": [1.1 * score + 1 for score in one["scores"]]} for one in bundle.manifest.golden]
    write_variant(three_bundles, bundle, "forgetful", golden=golden)
    (three_bundles / "third" / "search.onnx").write_bytes(b"")
    for version, status, fault in (
        ("forgetful", 409, "does not give its recorded answers"),
        ("third", 409, "truncated or altered"),
        ("fourth", 404, "there is no bundle 'fourth'"),
        ("..", 404, ""),
        ("%2e%2e%2fsecond", 404, ""),
    ):
        response = client.post(f"/models/{version}/activate")
        assert response.status_code == status, response.text
        assert fault in response.json()["detail"]
    assert ask(client)["model_version"] == "first"
    assert samples(client, 'rqrec_model_reload_total{result="failed"}').popitem()[1] == 2


def test_the_routes_need_the_token(client: TestClient) -> None:
    del client.headers["Authorization"]
    assert client.get("/models").status_code == 401
    assert client.post("/models/second/activate").status_code == 401
    assert ask(client)["model_version"] == "first"


@pytest.mark.parametrize("body", [{"part": "canary", "percent": 0}, {"part": "boss"}, {"percent": 101}, {"more": 1}])
def test_a_bad_part_is_refused(client: TestClient, body: dict[str, Any]) -> None:
    assert client.post("/models/second/activate", json=body).status_code == 422


def test_a_canary_answers_its_share_and_a_key_always_gets_the_same_model(client: TestClient) -> None:
    assert activate(client, "second", part="canary", percent=30) == {
        "first": "active",
        "second": "canary",
        "third": None,
    }
    chosen = {f"user {number}": ask(client, routing_key=f"user {number}")["model_version"] for number in range(200)}
    assert 35 <= Counter(chosen.values())["second"] <= 85  # 60 expected; six sigma
    assert all(ask(client, routing_key=key)["model_version"] == version for key, version in list(chosen.items())[:50])
    answers = samples(client, "rqrec_model_answers_total")
    assert sum(answers.values()) == 250
    assert activate(client, "second", part="canary", percent=60)["second"] == "canary"
    wider = {key for key in chosen if ask(client, routing_key=key)["model_version"] == "second"}
    assert wider > {key for key, version in chosen.items() if version == "second"}
    assert activate(client, "first") == {"first": "active", "second": None, "third": None}


def test_another_trial_gets_other_users(client: TestClient) -> None:
    def tried(version: str) -> set[int]:
        activate(client, version, part="canary", percent=50)
        return {n for n in range(60) if ask(client, routing_key=str(n))["model_version"] == version}

    assert tried("second") != tried("third")


def test_a_shadow_is_measured_and_never_seen(client: TestClient) -> None:
    activate(client, "second", part="shadow")
    for _ in range(10):
        assert ask(client)["model_version"] == "first"
    until(lambda: samples(client, 'rqrec_shadow_answers_total{result="answered"}').popitem()[1] == 10)
    overlap = samples(client, "rqrec_shadow_overlap_ratio")
    assert overlap["rqrec_shadow_overlap_ratio_sum"] == overlap["rqrec_shadow_overlap_ratio_count"] == 10


def test_no_request_is_lost_or_mixed_while_models_change(three_bundles: Path) -> None:
    app = create_app(settings_for(three_bundles, admin_token=TOKEN))

    async def scenario() -> None:
        versions, stop = Counter[str](), asyncio.Event()
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://test", headers=HEADERS) as client,
        ):

            async def user() -> None:
                while not stop.is_set():
                    response = await client.post("/recommend", json={"history": HISTORY, "k": 5})
                    assert response.status_code == 200
                    assert_whole(response.json())
                    versions[response.json()["model_version"]] += 1

            async with asyncio.TaskGroup() as users:
                for _ in range(8):
                    users.create_task(user())
                for version in ("second", "third", "first"):
                    response = await client.post(f"/models/{version}/activate")
                    assert response.status_code == 200
                both = await asyncio.gather(*(client.post(f"/models/{v}/activate") for v in ("second", "third")))
                assert sorted(response.status_code for response in both) == [200, 409]
                stop.set()
        assert {"first", "second", "third"} <= versions.keys()

    asyncio.run(scenario())


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


@pytest.mark.parametrize("roles", ["nonsense", '{"active": 1}', Rollout("gone").to_json()])
def test_roles_that_cannot_be_taken_up_do_not_keep_a_replica_from_serving(
    three_bundles: Path, redis_server: RedisServer, roles: str
) -> None:
    redis_server.client.set("rqrec:roles", roles)
    with service(three_bundles, redis_url=redis_server.url) as client:
        assert ask(client)["model_version"] == "first"


def test_roles_pass_through_redis() -> None:
    roles = Rollout("first").with_role("second", Role.CANARY, 5.0)
    assert Rollout.from_json(roles.to_json()) == roles
    assert roles.with_role("second", Role.ACTIVE, 100.0) == Rollout("second")


def test_what_was_written_goes_over_to_the_next_model_and_back(
    three_bundles: Path, redis_server: RedisServer, film: dict[str, Any]
) -> None:
    def known(client: TestClient, item_id: str) -> bool:
        return client.get(f"/items/{item_id}").status_code == 200

    with service(three_bundles, redis_url=redis_server.url) as one:
        assert one.put("/items/new", json=film).status_code == 201
        assert one.delete("/items/100").status_code == 204
        with service(three_bundles, redis_url=redis_server.url, redis_check_s=600) as behind:
            activate(one, "second")
            assert known(one, "new")
            assert not known(one, "100")
            payload = one.get("/items/new").json()["payload"]
            assert payload == film["attributes"]
            # A replica that has not changed over yet takes another one.
            assert behind.put("/items/late", json=film).status_code == 201
            assert behind.get("/items/late").json()["model_version"] == "first"
            until(lambda: known(one, "late"))
            assert one.put("/items/later", json=film).status_code == 201
        activate(one, "first")
        assert known(one, "later")
        assert known(one, "late")
        version = one.get("/readyz").json()["catalogue_version"]
        activate(one, "second")
        activate(one, "first")
        assert one.get("/readyz").json()["catalogue_version"] == version  # nothing goes round in circles


def test_a_restart_with_a_new_bundle_keeps_what_was_written(
    three_bundles: Path, redis_server: RedisServer, film: dict[str, Any]
) -> None:
    with service(three_bundles, redis_url=redis_server.url) as client:
        assert client.put("/items/new", json=film).status_code == 201
    with service(three_bundles / "second", redis_url=redis_server.url) as client:
        assert ask(client)["model_version"] == "second"
        assert client.get("/items/new").json()["payload"] == film["attributes"]


def threads_that_tokenise() -> int:
    return sum(thread.name.startswith("rqrec-tokenise") for thread in threading.enumerate())


def loaded_models() -> int:
    gc.collect()
    return sum(type(one) is ServedModel for one in gc.get_objects())


@pytest.mark.parametrize("error", [MemoryError(), OSError("disk"), RuntimeError("graph"), KeyError("field")], ids=repr)
@pytest.mark.parametrize("place", ["load_snapshot", "ItemTokenizer", "LiveCatalogue.start", "RedisTable.keep_whole"])
def test_whatever_fails_while_a_model_is_loaded_leaves_nothing_behind(
    three_bundles: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, error: Exception, place: str
) -> None:
    def fail(*_arguments: object, **_named: object) -> None:
        raise type(error)(*error.args)

    monkeypatch.setattr(logging.getLogger("rqrec"), "disabled", True)  # pytest keeps records, and so their frames
    with service(three_bundles, redis_url=redis_server.url) as client:
        gc.unfreeze()
        models, threads, tasks = loaded_models(), threads_that_tokenise(), num_tasks(client)
        with monkeypatch.context() as patched:
            patched.setattr(f"rqrec.service.serving.served_model.{place}", fail)
            for _ in range(3):
                response = client.post("/models/second/activate")
                assert (response.status_code, response.json()["type"]) == (409, "unusable-model"), response.text
        del response
        gc.unfreeze()
        assert loaded_models() == models
        until(lambda: threads_that_tokenise() <= threads)
        until(lambda: num_tasks(client) <= tasks)
        assert ask(client)["model_version"] == "first"
        assert activate(client, "second")["second"] == "active"


def num_tasks(client: TestClient) -> int:
    async def count() -> int:
        return len(asyncio.all_tasks())

    assert client.portal is not None
    return client.portal.call(count)


def test_models_are_listed_whatever_lies_in_the_folder(client: TestClient, three_bundles: Path) -> None:
    bad: dict[str, str | bytes] = {
        "deep": "[" * 100_000,
        "foreign": '{"format": 7}',
        "list": "[]",
        "text": "not JSON",
        "binary": b"\xff\xfe\x00",
    }
    for name, content in bad.items():
        (three_bundles / name).mkdir()
        data = content if isinstance(content, bytes) else content.encode()
        (three_bundles / name / "manifest.json").write_bytes(data)
    (three_bundles / "current").unlink()
    models = {model["version"]: model for model in client.get("/models").json()["models"]}
    assert all(models[name]["fault"] for name in bad)
    assert models["first"]["part"] == "active"
    for name in bad:
        assert client.post(f"/models/{name}/activate").status_code == 409
    assert activate(client, "second")["second"] == "active"
    shutil.rmtree(three_bundles)
    assert client.get("/models").status_code == 200
    assert ask(client)["model_version"] == "second"


def test_of_two_activations_on_two_replicas_one_is_refused(three_bundles: Path, redis_server: RedisServer) -> None:
    slow = {"redis_url": redis_server.url, "redis_check_s": 600}  # nobody hears of the other
    with service(three_bundles, **slow) as one, service(three_bundles, **slow) as other:
        activate(one, "second")
        response = other.post("/models/third/activate")
        assert (response.status_code, response.json()["type"]) == (409, "conflict")
        assert ask(other)["model_version"] == "first"
    with service(three_bundles, redis_url=redis_server.url) as later:
        assert ask(later)["model_version"] == "second"


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


def test_a_model_is_not_activated_before_it_knows_the_catalogue(
    three_bundles: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_self: object) -> None:
        raise RedisUnavailable("it failed")

    with service(three_bundles, redis_url=redis_server.url) as client:
        monkeypatch.setattr("rqrec.service.replication.live_catalogue.LiveCatalogue.catch_up", away)
        assert client.post("/models/second/activate").status_code == 503
        assert ask(client)["model_version"] == "first"


@pytest.mark.parametrize("damage", ["deleted", "string", "list", "hash of garbage"])
def test_damaged_keys_of_a_model_that_nobody_serves_do_not_keep_it_from_being_activated(
    three_bundles: Path, redis_server: RedisServer, film: dict[str, Any], damage: str
) -> None:
    redis = redis_server.client
    with service(three_bundles, redis_url=redis_server.url) as client:
        assert client.put("/items/new", json=film).status_code == 201
        activate(client, "second")
        activate(client, "first")
        activate(client, "second")
        for key in ("changes", "entries", "log", "carried", "items", "semantic-ids", "whole"):
            until(lambda: samples(client, "rqrec_catalogue_current") == {"rqrec_catalogue_current": 1.0})
            name = f"rqrec:{{first}}:{key}"
            redis.delete(name)
            if damage == "string":
                redis.set(name, "a text")
            elif damage == "list":
                redis.rpush(name, "x")
            elif damage == "hash of garbage":
                redis.hset(name, mapping={"second": "x", "new": "y"})
            activate(client, "first")
            assert client.get("/items/new").json()["payload"] == film["attributes"]
            activate(client, "second")
            assert client.get("/items/new").json()["payload"] == film["attributes"]
