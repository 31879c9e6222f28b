"""GET /models/{version}/report: the page with its own policy, and a clear answer if there is none."""

import shutil
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.layout import REPORT
from rqrec.models.bundle.manifest import seal_bundle
from rqrec.models.bundle.report import REPORT_POLICY
from rqrec.models.bundle.store import point_current
from rqrec.service.app import create_app
from tests.service.conftest import settings_for


@pytest.fixture(scope="module")
def client(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service with a whole bundle, one without a report, and one whose report was altered."""
    bundles = tmp_path_factory.mktemp("bundles")
    for version in (bundle.manifest.version, "without", "altered"):
        shutil.copytree(bundle.path, bundles / version)
    (bundles / "without" / REPORT).unlink()
    seal_bundle(bundles / "without", bundle.manifest)
    (bundles / "altered" / REPORT).write_text("<h1>mine</h1>", encoding="utf-8")
    (bundles / "secret.html").write_text("secret", encoding="utf-8")
    point_current(bundles, bundle.manifest.version)
    with TestClient(create_app(settings_for(bundles))) as client:
        yield client


def test_the_report_comes_as_a_page_with_a_policy_and_may_be_kept(client: TestClient, bundle: Bundle) -> None:
    answer = client.get(f"/models/{bundle.manifest.version}/report")
    assert answer.status_code == 200
    assert answer.content == (bundle.path / REPORT).read_bytes()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers.get_list("content-security-policy") == [f"{REPORT_POLICY}; frame-ancestors 'none'"]
    assert answer.headers.get_list("cache-control") == ["private, max-age=86400, immutable"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_evaluation_of_a_loaded_model_is_told(client: TestClient, bundle: Bundle) -> None:
    answer = client.get(f"/models/{bundle.manifest.version}/evaluation").json()
    assert answer["metrics"] == bundle.manifest.metrics
    assert answer["metrics"]["rqrec"]["users"] > 0
    assert (answer["dataset"], answer["refit"]) == (bundle.manifest.dataset, bundle.manifest.refit)
    unloaded = client.get("/models/without/evaluation")
    assert (unloaded.status_code, unloaded.json()["type"]) == (404, "unknown-model")


@pytest.mark.parametrize(
    ("version", "type_", "detail"),
    [
        ("without", "no-report", "an older release published it, or a training with PublishSettings.report = False"),
        ("altered", "no-report", "does not match the checksum"),
        ("nope", "unknown-model", "there is no bundle 'nope': GET /models lists the bundles"),
        (".", "unknown-model", "no bundle"),
        ("current", "unknown-model", "there is no bundle 'current'"),
        ("secret.html", "unknown-model", "there is no bundle"),
        ("%00", "invalid-request", "control characters"),
    ],
)
def test_a_report_that_is_not_there_is_a_problem_with_its_reason(
    client: TestClient, version: str, type_: str, detail: str
) -> None:
    answer = client.get(f"/models/{version}/report" if version != "." else "/models/%2E/report")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == type_
    assert detail in answer.json()["detail"]
    assert answer.headers.get_list("cache-control") == ["no-store"]


@pytest.mark.parametrize("version", ["..", "%2E%2E", "..%2F..", "%2e%2e%2f%2e%2e%2fetc", "a/../b"])
def test_no_version_leads_out_of_the_folder_of_bundles(client: TestClient, version: str) -> None:
    assert client.get(f"/models/{version}/report").status_code == 404
