import asyncio
import json
import re
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from rqrec.models.bundle.bundle import Bundle
from rqrec.service.app import create_app
from rqrec.service.settings import Settings, faults_of
from rqrec.service.users.event_rules import EventRule
from service.__main__ import main
from tests.service.conftest import settings_for

OPENAPI = Path(__file__).parents[2] / "docs" / "openapi.json"


def test_health_and_readiness(plain_client: TestClient, bundle: Bundle) -> None:
    assert plain_client.get("/healthz").json() == {"status": "alive"}
    assert plain_client.get("/readyz").json() == {
        "status": "ready",
        "model_version": bundle.manifest.version,
        "catalogue_version": 0,
        "models": {"active": bundle.manifest.version},
    }


def test_the_docs_page_is_served(plain_client: TestClient) -> None:
    assert "openapi.json" in plain_client.get("/docs").text


def test_the_openapi_document_in_the_repository_is_what_is_served(plain_client: TestClient) -> None:
    served = plain_client.get("/openapi.json").json()
    assert served == json.loads(OPENAPI.read_text()), f"run `make openapi` to write {OPENAPI.name} anew"


def test_every_reference_in_the_openapi_document_leads_somewhere() -> None:
    text = OPENAPI.read_text()
    references = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert references <= set(json.loads(text)["components"]["schemas"])
    assert "Problem" in references


def test_metrics_count_and_describe(bundles: Path, bundle: Bundle) -> None:
    with TestClient(create_app(settings_for(bundles))) as client:
        client.post("/recommend", json={"history": ["116", "nope"], "k": 3})
        client.post("/recommend", json={"history": []})
        client.get("/items/nope")
        client.get("/some/path")
        samples = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(client.get("/metrics").text)
            for sample in family.samples
        }
    labels = ("method", "POST"), ("route", "/recommend"), ("status", "200")
    assert samples["rqrec_http_requests_total", *labels] == 2
    unknown = ("method", "GET"), ("route", "/items/{item_id}"), ("status", "404")
    assert samples["rqrec_http_requests_total", *unknown] == 1
    unmatched = ("method", "GET"), ("route", "unmatched"), ("status", "404")
    assert samples["rqrec_http_requests_total", *unmatched] == 1
    for stage, times in (("encode", 2), ("queue", 1), ("search", 1), ("lookup", 2)):
        assert samples["rqrec_recommend_stage_duration_seconds_count", ("stage", stage)] == times
    assert samples["rqrec_batch_size_count",] == 1
    assert samples["rqrec_queue_depth",] == 0
    assert samples["rqrec_unknown_history_items_total",] == 1
    assert samples["rqrec_fallback_total", ("kind", "popular")] == 1
    assert samples["rqrec_invalid_beams_total",] == 0
    assert samples["rqrec_catalogue_items",] == 64
    assert samples["rqrec_model_info", ("version", bundle.manifest.version)] == 1
    assert 0 < samples["rqrec_model_codebook_usage_ratio", ("level", "0")] <= 1


def test_the_event_loop_answers_while_a_search_runs(bundles: Path) -> None:
    app = create_app(settings_for(bundles))

    async def scenario() -> None:
        async with app.router.lifespan_context(app):
            started, finish = asyncio.Event(), asyncio.Event()
            loop = asyncio.get_running_loop()
            snapshot = app.state.runtime.deployment.active.snapshot
            search = snapshot.recommender.recommend

            def slow_search(*args: object, **kwargs: object) -> object:
                loop.call_soon_threadsafe(started.set)
                asyncio.run_coroutine_threadsafe(finish.wait(), loop).result(timeout=30)
                return search(*args, **kwargs)

            snapshot.recommender.recommend = slow_search
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
                recommending = asyncio.create_task(client.post("/recommend", json={"history": ["116"]}))
                await asyncio.wait_for(started.wait(), 10)
                assert (await client.get("/healthz")).status_code == 200
                assert not recommending.done()
                finish.set()
                assert (await recommending).status_code == 200

    asyncio.run(scenario())


def test_secrets_do_not_show_in_the_settings() -> None:
    assert "hunter2" not in repr(Settings.model_validate({"redis_url": "redis://:hunter2@localhost"}))


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQREC_BEAM_WIDTH", "33")
    assert Settings().beam_width == 33


@pytest.mark.parametrize("text", ["10.0.0.0/8,fd00::/8", '["10.0.0.0/8", "fd00::/8"]', " 10.0.0.0/8 , fd00::/8 "])
def test_lists_in_the_environment_are_separated_by_commas_or_json(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("RQREC_TRUSTED_PROXIES", text)
    monkeypatch.setenv("RQREC_CORS_ORIGINS", "https://shop.example")
    settings = Settings()
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "fd00::/8"]
    assert settings.cors_origins == ["https://shop.example"]


def test_event_types_in_the_environment_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RQREC_EVENT_TYPES", '{"watch": {}, "skip": {"history": false, "dislike": true}}')
    assert Settings().event_types == {"watch": EventRule(), "skip": EventRule(history=False, dislike=True)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("RQREC_TRUSTED_PROXIES", "nowhere"),
        ("RQREC_TRUSTED_PROXIES", "[1"),
        ("RQREC_RATE_LIMIT_HEADER", "é☃"),
        ("RQREC_RATE_LIMIT", "0/second"),
        ("RQREC_HOST", "a" * 300),
        ("RQREC_HOST", "é..x"),
        ("RQREC_REDIS_PAUSE_S", "inf"),
        ("RQREC_KEEP_ALIVE_S", "inf"),
        ("RQREC_GRACE_S", "nan"),
        ("RQREC_REDIS_URL", "redis://h?retry_on_error=1"),
        ("RQREC_EVENT_TYPES", "view, click"),
        ("RQREC_EVENT_TYPES", '["view"]'),
        ("RQREC_EVENT_TYPES", "{}"),
        ("RQREC_EVENT_TYPES", '{"view": {"weight": 1}}'),
        ("RQREC_EVENT_TYPES", '{"view": {"history": "perhaps"}}'),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_by_name(
    bundles: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, text: str
) -> None:
    monkeypatch.setenv("RQREC_BUNDLE", str(bundles))
    monkeypatch.setenv(name, text)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert name in line


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("RQREC_EVENT_TYPES", "view", "expected a JSON object such as .*, got 'view'"),
        ("RQREC_EVENT_TYPES", '["view"]', "expected a JSON object such as .*, got "),
        ("RQREC_EVENT_TYPES", '{"view": {"historie": true}}', "view.historie: Extra inputs are not permitted"),
        ("RQREC_EVENT_TYPES", '{"view": {"history": "perhaps"}}', "view.history: Input should be a valid boolean"),
        ("RQREC_RATE_LIMIT", "5", "expected a rate such as 5/second or 5000/hour, got '5'"),
        ("RQREC_CORS_ORIGINS", "[x", "expected a list such as .*, got '\\[x'"),
    ],
)
def test_the_fault_of_a_setting_says_where_it_is(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, reason: str
) -> None:
    monkeypatch.setenv(name, text)
    with pytest.raises(ValidationError) as error:
        Settings(bundle=Path("bundle"))
    (fault,) = faults_of(error.value)
    assert re.match(f"{name}: {reason}", fault)
