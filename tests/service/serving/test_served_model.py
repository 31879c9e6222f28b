"""Written items move to the next model, and a failed load leaves nothing behind."""

import asyncio
import gc
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

from benchmarks.support.running import RedisServer
from rqrec.models.bundle.bundle import Bundle
from rqrec.service.errors import NotReady
from rqrec.service.redis.client import RedisUnavailable
from rqrec.service.serving.served_model import ServedModel
from tests.service.conftest import until, write_variant
from tests.service.serving.three_models import activate, ask, samples, service


def test_what_was_written_goes_over_to_the_next_model_and_back(
    three_bundles: Path, redis_server: RedisServer, film: dict[str, Any]
) -> None:
    """Invariant I14: changes migrate to the next model and back, and none migrates twice."""

    def known(client: TestClient, item_id: str) -> bool:
        return client.get(f"/items/{item_id}").status_code == 200

    with service(three_bundles, redis_url=redis_server.url) as one:
        assert one.put("/items/new", json=film).status_code == 201
        assert one.delete("/items/100").status_code == 204
        with service(three_bundles, redis_url=redis_server.url, redis_check_s=600, rollout_poll_s=600) as behind:
            activate(one, "second")
            assert known(one, "new")
            assert not known(one, "100")
            payload = one.get("/items/new").json()["payload"]
            assert payload == film["attributes"]
            # A replica that still serves the old model accepts a write.
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
        assert one.get("/readyz").json()["catalogue_version"] == version  # no change migrates twice


def test_items_that_do_not_fit_the_next_model_are_counted(
    three_bundles: Path, bundle: Bundle, redis_server: RedisServer, film: dict[str, Any]
) -> None:
    items = bundle.items.with_columns(pl.lit("Drama").alias("genres"), title=bundle.items["title"] + " of texts")
    write_variant(three_bundles, bundle, "texts", items)
    with service(three_bundles, redis_url=redis_server.url) as client:

        def left_out(answer: Any) -> dict[str, int | None]:
            assert answer.status_code == 200, answer.text
            return {model["version"]: model["num_left_out"] for model in answer.json()["models"]}

        for name in ("one", "two"):
            assert client.put(f"/items/{name}", json=film).status_code == 201
        assert client.put("/items/plain", json={"attributes": {"year": 1985}}).status_code == 201
        assert left_out(client.get("/models")) == {"first": 0, "second": None, "third": None, "texts": None}
        assert left_out(client.post("/models/texts/activate"))["texts"] == 2
        assert left_out(client.get("/models"))["texts"] == 2
        assert client.get("/items/plain").status_code == 200
        assert client.get("/items/one").status_code == 404


def test_a_restart_with_a_new_bundle_keeps_what_was_written(
    three_bundles: Path, redis_server: RedisServer, film: dict[str, Any]
) -> None:
    """Invariant I14: a service that starts with a newer bundle migrates the changes of the older one."""
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


def failing(error: Exception) -> Callable[..., None]:
    def fail(*_arguments: object, **_named: object) -> None:
        raise type(error)(*error.args)

    return fail


@pytest.mark.parametrize(
    "place", ["load_proven_snapshot", "ItemTokenizer", "LiveCatalogue.start", "RedisTable.keep_whole"]
)
def test_whatever_fails_while_a_model_is_loaded_leaves_nothing_behind(
    three_bundles: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(logging.getLogger("rqrec"), "disabled", True)  # pytest keeps log records and their frames
    with service(three_bundles, redis_url=redis_server.url) as client:
        gc.unfreeze()
        models, threads, tasks = loaded_models(), threads_that_tokenise(), num_tasks(client)
        with monkeypatch.context() as patched:
            for error in (MemoryError(), OSError("disk"), RuntimeError("graph"), KeyError("field")):
                patched.setattr(f"rqrec.service.serving.served_model.{place}", failing(error))
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


def test_a_model_is_not_activated_before_it_knows_the_catalogue(
    three_bundles: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_self: object) -> None:
        raise RedisUnavailable("it failed")

    with service(three_bundles, redis_url=redis_server.url) as client:
        monkeypatch.setattr("rqrec.service.replication.live_catalogue.LiveCatalogue.catch_up", away)
        assert client.post("/models/second/activate").status_code == 503
        assert ask(client)["model_version"] == "first"


@pytest.mark.parametrize("damage", ["deleted", "string"])
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
            activate(client, "first")
            assert client.get("/items/new").json()["payload"] == film["attributes"]
            activate(client, "second")
            assert client.get("/items/new").json()["payload"] == film["attributes"]


def test_a_write_that_meets_a_model_after_its_end_is_to_be_sent_again(
    three_bundles: Path, redis_server: RedisServer, film: dict[str, Any]
) -> None:
    with service(three_bundles, redis_url=redis_server.url) as client:
        before: ServedModel = client.app.state.runtime.deployment.active  # type: ignore[attr-defined]
        activate(client, "second")
        assert client.portal is not None
        with pytest.raises(NotReady, match="send it again"):
            client.portal.call(before.tokenise, "new", film["attributes"], film["text_vector"])
        assert client.put("/items/new", json=film).status_code == 201
