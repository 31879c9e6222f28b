from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from rqrec.models.bundle.error import BundleError
from rqrec.service.app import create_app
from rqrec.service.contract.replies import Problem
from rqrec.service.http.problems import MEDIA_TYPE
from tests.service.conftest import settings_for


def check_problem(response: Any, status: int, kind: str) -> Problem:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == MEDIA_TYPE
    problem = Problem.model_validate(response.json())
    assert (problem.status, problem.type) == (status, kind)
    assert problem.request_id == response.headers["x-request-id"]
    assert problem.instance == response.request.url.path
    return problem


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/history"),
        ({"history": "1"}, "/history"),
        ({"history": [1]}, "/history/0"),
        ({"history": [""]}, "/history/0"),
        ({"history": [], "k": 0}, "/k"),
        ({"history": [], "k": 101}, "/k"),
        ({"history": [], "k": "many"}, "/k"),
        ({"history": [], "beam_width": 0}, "/beam_width"),
        ({"history": [], "histroy": []}, "/histroy"),
    ],
)
def test_a_bad_body_is_answered_with_the_faulty_field(
    plain_client: TestClient, body: dict[str, Any], pointer: str
) -> None:
    problem = check_problem(plain_client.post("/recommend", json=body), 422, "invalid-request")
    assert [part.pointer for part in problem.errors] == [pointer]
    assert pointer in problem.detail


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"nonsense"])
def test_a_body_that_is_no_json_object_is_invalid(plain_client: TestClient, content: bytes) -> None:
    headers = {"content-type": "application/json"}
    check_problem(plain_client.post("/recommend", content=content, headers=headers), 422, "invalid-request")


@pytest.mark.parametrize("path", ["/items/nope", "/items/nope/semantic-id"])
def test_an_unknown_item_is_not_found(plain_client: TestClient, path: str) -> None:
    problem = check_problem(plain_client.get(path), 404, "unknown-item")
    assert "'nope'" in problem.detail


def test_an_unknown_path_and_a_wrong_method_are_problems_too(plain_client: TestClient) -> None:
    check_problem(plain_client.get("/nowhere"), 404, "http")
    response = plain_client.get("/recommend")
    check_problem(response, 405, "http")
    assert response.headers["allow"] == "POST"


def test_a_history_over_its_limit_is_too_large(plain_client: TestClient) -> None:
    problem = check_problem(plain_client.post("/recommend", json={"history": ["1"] * 1001}), 413, "too-large")
    assert problem.detail == "history may have at most 1000 items, got 1001"


@pytest.mark.parametrize("announce", [True, False])
def test_a_body_over_its_limit_is_too_large(bundles: Path, announce: bool) -> None:
    body = b'{"history": ["' + b"x" * 300 + b'"]}'
    with TestClient(create_app(settings_for(bundles, max_body_bytes=100))) as client:
        content = body if announce else iter([body[:150], body[150:]])
        check_problem(client.post("/recommend", content=content), 413, "too-large")


def test_the_clients_request_id_is_kept(plain_client: TestClient) -> None:
    request_id = "0123456789abcdef0123456789abcdef"
    response = plain_client.get("/items/nope", headers={"x-request-id": request_id})
    assert check_problem(response, 404, "unknown-item").request_id == request_id


def test_an_unexpected_failure_is_a_problem_and_tells_nothing(bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(settings_for(bundles))
    with TestClient(app, raise_server_exceptions=False) as client:

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("secret")

        monkeypatch.setattr(app.state.runtime.deployment.active.snapshot.recommender, "recommend", fail)
        response = client.post("/recommend", json={"history": ["100"]})
    assert response.status_code == 500
    assert response.json()["type"] == "internal"
    assert "secret" not in response.text


def test_not_ready_before_the_model_is_loaded_but_alive(bundles: Path) -> None:
    client = TestClient(create_app(settings_for(bundles)))  # without its lifespan
    assert client.get("/healthz").json() == {"status": "alive"}
    check_problem(client.get("/readyz"), 503, "not-ready")
    assert client.get("/readyz").headers["retry-after"] == "1"
    check_problem(client.post("/recommend", json={"history": []}), 503, "not-ready")


def test_a_bad_bundle_stops_the_start_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no bundle at"), TestClient(create_app(settings_for(tmp_path))):
        pass
