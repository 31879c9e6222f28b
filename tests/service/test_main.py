import json
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from threadpoolctl import threadpool_info, threadpool_limits

from benchmarks.support.running import RedisServer
from rqrec.models.bundle.layout import SEARCH_GRAPH
from rqrec.service.misspelt_settings import misspelt
from rqrec.service.settings import Settings
from service import __main__ as program
from tests.service.serving.three_models import activate, ask, service


def test_numpy_computes_with_one_thread_in_the_service(bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def serve(*_arguments: object) -> None:
        threads.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")

    monkeypatch.setenv("RQREC_BUNDLE", str(bundles))
    monkeypatch.setattr(program, "serve", serve)
    with threadpool_limits(2, user_api="blas"):
        program.main()
    assert threads
    assert set(threads) == {1}


def test_a_misspelt_setting_is_told_at_the_start(
    bundles: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "serve", lambda *_arguments: None)
    for name, value in {"RQREC_BUNDLE": str(bundles), "RQREC_BEEM_WIDTH": "20", "RQREC_HOST": "::1"}.items():
        monkeypatch.setenv(name, value)
    program.main()
    written = capsys.readouterr().err
    assert "RQREC_BEEM_WIDTH is no setting and is ignored; did you mean RQREC_BEAM_WIDTH?" in written
    assert "RQREC_HOST" not in written


def test_a_damaged_current_bundle_ends_the_program_unless_redis_may_name_another(
    three_bundles: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with service(three_bundles, redis_url=redis_server.url) as client:
        activate(client, "second")
    (three_bundles / "first" / SEARCH_GRAPH).write_bytes(b"")
    monkeypatch.setenv("RQREC_BUNDLE", str(three_bundles))
    with pytest.raises(SystemExit, match="2"):
        program.main()

    def serve(app: FastAPI, _settings: Settings) -> None:
        with TestClient(app) as client:
            assert ask(client)["model_version"] == "second"

    monkeypatch.setenv("RQREC_REDIS_URL", redis_server.url)
    monkeypatch.setattr(program, "serve", serve)
    program.main()
    assert "Only a model that has a role in Redis can be served" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RQREC_BEEM", "; did you mean RQREC_BEAM_WIDTH?"),
        ("rqrec_admintoken", "; did you mean RQREC_ADMIN_TOKEN?"),
        ("RQREC_POTR", "; did you mean RQREC_PORT?"),
        ("RQREC_TOKEN", ""),
        ("RQREC_XYZ", ""),
    ],
)
def test_only_a_setting_with_a_near_name_is_suggested(name: str, meant: str) -> None:
    assert misspelt([name, "RQREC_PORT", "HOME"]) == [f"{name} is no setting and is ignored{meant}"]


def test_with_json_a_setting_that_cannot_be_used_is_a_record(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RQREC_LOG_FORMAT", "json")
    monkeypatch.setenv("RQREC_PORT", "often")
    with pytest.raises(SystemExit, match="2"):
        program.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"].startswith("RQREC_PORT: ")


def test_the_address_that_kubernetes_puts_in_place_of_the_port_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RQREC_PORT", "tcp://10.0.0.1:80")
    with pytest.raises(SystemExit, match="2"):
        program.main()
    assert "RQREC_PORT: expected a port, got 'tcp://10.0.0.1:80', which Kubernetes sets" in capsys.readouterr().err
