"""The explorer's files over HTTP: their headers, a prefix, and a service where the explorer is off."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from rqrec.service.app import create_app
from tests.service.conftest import settings_for

FOLDER = Path(__file__).parents[4] / "service/explorer"
FILES = [str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.*") if path.name != "index.html"]
PREFIX = "/shop/rec"
ELSEWHERE = re.compile(r"""(?:https?:)?//(?!www\.w3\.org/2000/svg)[a-z0-9.-]+\.[a-z]""")  # an address of another host


@pytest.fixture(scope="module")
def prefixed(bundles: Path) -> Iterator[TestClient]:
    with TestClient(create_app(settings_for(bundles, root_path=PREFIX)), follow_redirects=False) as client:
        yield client


def test_the_page_and_all_its_files_are_served_with_headers_that_bind_a_browser(plain_client: TestClient) -> None:
    assert len(FILES) > 20
    for path in ["/", *(f"/explorer/{name}" for name in FILES)]:
        answer = plain_client.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-cache"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert not ELSEWHERE.search(answer.text), path
    assert plain_client.get("/explorer/main.js").headers["content-type"].startswith("text/javascript")
    page = plain_client.get("/").text
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", page)


def test_a_file_that_the_browser_has_is_not_sent_again(plain_client: TestClient) -> None:
    tag = plain_client.get("/explorer/main.js").headers["etag"]
    again = plain_client.get("/explorer/main.js", headers={"if-none-match": f'"other", W/{tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert plain_client.get("/explorer/main.js", headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/explorer/", "/explorer/nothing.js", "/explorer/../settings.py", "/explorer/index.html"]
)
def test_only_the_files_of_the_explorer_are_served(plain_client: TestClient, path: str) -> None:
    answer = plain_client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_addresses_are_relative_so_that_a_prefix_works(prefixed: TestClient) -> None:
    for before in ("", PREFIX):
        page = prefixed.get(f"{before}/")
        addresses = re.findall(r"(?:src|href)=\"(explorer/[^\"]+)\"", page.text)
        assert len(addresses) >= 4
        assert all(prefixed.get(f"{before}/{address}").status_code == 200 for address in addresses)
    without_slash = prefixed.get(PREFIX)
    assert (without_slash.status_code, without_slash.headers["location"]) == (307, f"{PREFIX}/")


def test_the_setting_removes_it(bundles: Path) -> None:
    with TestClient(create_app(settings_for(bundles, explorer="off"))) as client:
        for path in ("/", "/explorer/main.js"):
            assert client.get(path).status_code == 404
        assert client.get("/docs").status_code == 200
