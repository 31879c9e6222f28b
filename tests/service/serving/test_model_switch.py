"""Models are activated, rolled back and listed; a failed switch changes nothing."""

import asyncio
import shutil
from collections import Counter
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from rqrec.models.bundle.bundle import Bundle
from rqrec.service.app import create_app
from tests.service.conftest import settings_for, write_variant
from tests.service.serving.three_models import HEADERS, HISTORY, TOKEN, activate, ask, assert_whole, samples


def test_a_model_is_activated_and_rolled_back(admin_client: TestClient) -> None:
    before = ask(admin_client)
    assert before["model_version"] == "first"
    assert activate(admin_client, "second") == {"first": None, "second": "active", "third": None}
    after = ask(admin_client)
    assert after["model_version"] == "second"
    assert [item["item_id"] for item in after["items"]] == [item["item_id"] for item in before["items"]]
    assert admin_client.get("/readyz").json()["model_version"] == "second"
    assert admin_client.get("/items/116/semantic-id").json()["model_version"] == "second"
    assert samples(admin_client, "rqrec_model_info") == {'rqrec_model_info{version="second"}': 1}
    assert activate(admin_client, "first")["first"] == "active"
    assert ask(admin_client)["model_version"] == "first"
    assert samples(admin_client, 'rqrec_model_reload_total{result="loaded"}').popitem()[1] == 3


def test_models_are_listed_with_what_is_wrong_with_them(admin_client: TestClient, three_bundles: Path) -> None:
    manifest = three_bundles / "third" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("third", "other"))
    first, second, third = admin_client.get("/models").json()["models"]
    assert (first["version"], first["part"], first["num_items"], first["fault"]) == ("first", "active", 64, None)
    assert first["metrics"]["rqrec"]["recall@10"] > 0
    assert second["part"] is None
    assert third["fault"].endswith("copy or publish the bundle again")


def test_a_model_that_cannot_be_used_changes_nothing(
    admin_client: TestClient, three_bundles: Path, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
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
        caplog.clear()
        response = admin_client.post(f"/models/{version}/activate")
        assert response.status_code == status, response.text
        assert fault in response.json()["detail"]
        refusals = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        told = f"model {version} was refused as active: {response.json()['detail']}"
        assert refusals == ([told] if fault else [])
    assert ask(admin_client)["model_version"] == "first"
    assert samples(admin_client, 'rqrec_model_reload_total{result="failed"}').popitem()[1] == 2


def test_the_routes_need_the_token(admin_client: TestClient) -> None:
    del admin_client.headers["Authorization"]
    assert admin_client.get("/models").status_code == 401
    assert admin_client.post("/models/second/activate").status_code == 401
    assert ask(admin_client)["model_version"] == "first"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('{"part": "canary", "percent": 0}', "greater than 0"),
        ('{"part": "canary"}', "expected a percent with the part canary"),
        ('{"part": "boss"}', "'active', 'canary' or 'shadow'"),
        ('{"percent": 101}', "less than or equal to 100"),
        ('{"more": 1}', "/more"),
        ('{"percent": 5}', "expected the part canary or shadow with percent 5"),
        ('{"part": "active", "percent": 99.5}', "expected the part canary or shadow with percent 99.5"),
        ('{"part": "canary", "percent": NaN}', "finite number"),
        ('{"part": "canary", "percent": Infinity}', "finite number"),
        ('{"percent": 1e999}', "finite number"),
    ],
)
def test_a_bad_part_is_refused(admin_client: TestClient, body: str, fault: str) -> None:
    response = admin_client.post("/models/second/activate", content=body)
    assert response.status_code == 422
    assert fault in response.json()["detail"]
    assert ask(admin_client)["model_version"] == "first"


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


def test_models_are_listed_whatever_lies_in_the_folder(admin_client: TestClient, three_bundles: Path) -> None:
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
    models = {model["version"]: model for model in admin_client.get("/models").json()["models"]}
    assert all(models[name]["fault"] for name in bad)
    assert models["first"]["part"] == "active"
    for name in bad:
        assert admin_client.post(f"/models/{name}/activate").status_code == 409
    assert activate(admin_client, "second")["second"] == "active"
    shutil.rmtree(three_bundles)
    assert admin_client.get("/models").status_code == 200
    assert ask(admin_client)["model_version"] == "second"
