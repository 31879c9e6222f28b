"""The page /docs without the internet and behind a prefix: in a browser that reaches this machine only."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from benchmarks.support.chromium import CHROMIUM
from benchmarks.support.running import running_service
from rqrec.service.app import create_app
from tests.service.conftest import settings_for

PREFIX = "/shop/rec"


@pytest.fixture(scope="module")
def prefixed(bundles: Path) -> Iterator[TestClient]:
    with TestClient(create_app(settings_for(bundles, root_path=PREFIX + "/"))) as client:
        yield client


def test_the_pages_load_nothing_from_elsewhere(plain_client: TestClient) -> None:
    for page in ("/docs", "/redoc"):
        answer = plain_client.get(page)
        assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", answer.text)
        addresses = re.findall(r"(?:src|href)=\"([^\"]+)\"", answer.text)
        assert len(addresses) >= 2
        for address in addresses:
            asset = plain_client.get(address)
            assert asset.status_code == 200
            assert asset.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert plain_client.get("/docs/assets/../../settings.py").status_code == 404


@pytest.mark.parametrize("removed", [True, False], ids=["a proxy that removes it", "a proxy that keeps it"])
def test_every_route_works_behind_a_prefix(prefixed: TestClient, removed: bool) -> None:
    before = "" if removed else PREFIX
    assert prefixed.get(f"{before}/healthz").status_code == 200
    assert prefixed.get(f"{before}/items/116").json()["item_id"] == "116"
    assert prefixed.post(f"{before}/recommend", json={"history": ["116"], "k": 2}).status_code == 200
    assert prefixed.get(f"{before}/openapi.json").json()["servers"] == [{"url": PREFIX}]
    page = prefixed.get(f"{before}/docs").text
    assert f"url: '{PREFIX}/openapi.json'" in page
    assert f'src="{PREFIX}/docs/assets/swagger-ui-bundle.js"' in page
    assert prefixed.get(f"{before}/docs/assets/swagger-ui.css").status_code == 200


def test_problems_name_the_path_that_the_client_sees(prefixed: TestClient, plain_client: TestClient) -> None:
    for before in ("", PREFIX):
        assert prefixed.get(f"{before}/items/nope").json()["instance"] == f"{PREFIX}/items/nope"
        assert prefixed.post(f"{before}/recommend", content="{").json()["instance"] == f"{PREFIX}/recommend"
        assert prefixed.get(f"{before}/nowhere").json()["instance"] == f"{PREFIX}/nowhere"
    assert plain_client.get("/items/nope").json()["instance"] == "/items/nope"


def test_a_prefix_that_is_also_a_route_is_no_trap(bundles: Path) -> None:
    with TestClient(create_app(settings_for(bundles, root_path="/items"))) as client:
        assert client.get("/items/items/116").json()["item_id"] == "116"
        assert client.get("/itemsx").json()["instance"] == "/items/itemsx"


@pytest.mark.parametrize("prefix", ["rec", "/rec//x", "/a b", "//host", "/x'\"<"])
def test_a_prefix_that_is_none_is_refused(bundles: Path, prefix: str) -> None:
    with pytest.raises(ValueError, match="root_path"):
        settings_for(bundles, root_path=prefix)


def test_the_servers_connection_is_free_after_a_file(bundles: Path) -> None:
    with running_service({"RQREC_BUNDLE": str(bundles)}) as (url, _process), httpx.Client(base_url=url) as client:
        for _ in range(2):
            script = client.get("/docs/assets/swagger-ui-bundle.js")
            assert int(script.headers["content-length"]) == len(script.content) > 1_000_000
            assert client.get("/healthz", timeout=2).status_code == 200


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("prefix", ["", PREFIX], ids=["no prefix", "a prefix"])
def test_a_browser_without_the_internet_shows_every_route(bundles: Path, tmp_path: Path, prefix: str) -> None:
    settings = {"RQREC_BUNDLE": str(bundles), "RQREC_ROOT_PATH": prefix}
    with running_service(settings, log=tmp_path / "log") as (url, _process):
        assert httpx.get(f"{url}{prefix}/docs").status_code == 200
        command = [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--virtual-time-budget=10000",
            "--dump-dom",
            f"{url}{prefix}/docs",
        ]
        shown = subprocess.run(command, capture_output=True, check=True, timeout=120, text=True, env={**os.environ})
    assert "/items/{item_id}/semantic-id" in re.sub(r"<[^>]+>|\u200b", "", shown.stdout)
    first_line = (tmp_path / "log").read_text()
    assert f"serving on {url}{prefix} - its pages: {url}{prefix}/ and {url}{prefix}/docs" in first_line
