"""The examples, run as their readers run them."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.support.chromium import CHROMIUM
from benchmarks.support.running import running_redis, running_service
from rqrec.models.bundle.bundle import Bundle
from tests.service.conftest import write_variant

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PAGE_WITHIN_S = 60.0


def run(*command: str, cwd: Path, **variables: str) -> str:
    """Runs a command with this environment's programs first; gives what it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)} | variables
    done = subprocess.run(command, check=False, cwd=cwd, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_own_data_is_trained_and_served_as_its_readme_says(tmp_path: Path) -> None:
    folder = tmp_path / "own_data"
    shutil.copytree(EXAMPLES / "own_data", folder, ignore=shutil.ignore_patterns("artifacts"))
    install, asks = re.findall(r"```bash\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL)
    _, train, serve = install.splitlines()
    assert serve == "rqrec serve"
    printed = run("bash", "-c", train, cwd=folder)
    bundles = folder / "artifacts" / "shop" / "bundles"
    assert (bundles / "current").is_symlink()
    assert printed.splitlines()[-1] == "to serve it: RQREC_BUNDLE=artifacts/shop/bundles rqrec serve"
    with running_service({"RQREC_BUNDLE": str(bundles)}) as (url, _):
        for curl in re.findall(r"curl(?:.*\\\n)*.*", asks):
            command = curl.replace("localhost:8000", url).replace("curl ", "curl --fail-with-body ", 1)
            reply = json.loads(run("bash", "-c", command, cwd=folder))
            assert reply["items"]
            assert reply["unknown_items"] == []


def test_an_item_is_added_recommended_and_deleted(bundle: Bundle, tmp_path: Path) -> None:
    bundles = write_variant(tmp_path, bundle, "reads-texts")
    token, known = "a-secret-token", str(bundle.items["item_id"][0])
    with running_redis(tmp_path) as redis:
        settings = {"RQREC_BUNDLE": str(bundles), "RQREC_REDIS_URL": redis.url, "RQREC_ADMIN_TOKEN": token}
        with running_service(settings) as (url, _):
            example = [sys.executable, str(EXAMPLES / "live_items.py"), "--url", url, "--like", known]
            written, before, after = run(*example, cwd=tmp_path, RQREC_ADMIN_TOKEN=token).splitlines()
    assert written.startswith("written: example-item with the semantic ID ")
    assert "example-item" in before
    assert "example-item" not in after


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Prints nothing."""


@contextmanager
def page_server() -> Iterator[str]:
    """Serves the page's folder on a free port; gives its origin."""
    handler = partial(QuietHandler, directory=str(EXAMPLES / "shop_page"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def page_text(url: str, profile: Path) -> str:
    """Opens a page in a real browser; gives its document once its scripts have run."""
    assert CHROMIUM is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={profile}"]
    command = [CHROMIUM, *options, "--virtual-time-budget=10000", "--dump-dom", url]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=PAGE_WITHIN_S)
    return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome")
def test_the_page_shows_what_the_service_recommends(bundles: Path, bundle: Bundle, tmp_path: Path) -> None:
    known = bundle.items["item_id"][0]
    titles = bundle.items["title"].to_list()
    with page_server() as origin:
        with running_service({"RQREC_BUNDLE": str(bundles), "RQREC_CORS_ORIGINS": origin}) as (url, _):
            page = page_text(f"{origin}/?service={url}&history={known}", tmp_path / "profile")
        shown = re.findall(r'<li data-item-id="[^"]+">(.*?)</li>', page)
        assert len(shown) == 5
        assert set(shown) <= set(titles)
        with running_service({"RQREC_BUNDLE": str(bundles)}) as (url, _):
            refused = page_text(f"{origin}/?service={url}&history={known}", tmp_path / "profile")
        assert f"No recommendations from {url}" in refused
        assert "<li" not in refused
