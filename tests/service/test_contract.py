"""The service keeps to its OpenAPI document, and malformed bodies cause no server error."""

import asyncio
import subprocess
import sys
from pathlib import Path

from benchmarks.hostile.fuzz import fuzz
from benchmarks.support.request_bodies import valid_requests
from tests.service.conftest import Served

CONFIG = Path(__file__).with_name("schemathesis.toml")
FILM = {"title": "A film", "genres": ["Horror"], "year": 1985}


def test_every_route_keeps_to_the_document(served: Served, tmp_path: Path) -> None:
    st = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run", f"{served.url}/openapi.json"]
    run = [*st, "--seed", "1", "--header", f"Authorization: Bearer {served.token}", "--no-color"]
    done = subprocess.run(run, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: 22" in done.stdout, done.stdout


def test_malformed_bodies_are_no_server_errors(served: Served) -> None:
    requests = valid_requests(["1", "71", "588", "95", "99"], FILM)
    result = asyncio.run(fuzz(served.url, requests, token=served.token, bodies=2000, seed=1, slowest_s=30))
    assert result["samples"] == []
    assert result["server_errors"] == result["large"] == result["broken"] == 0
    assert sum(result["statuses"].values()) == 2000
    assert result["statuses"]["422"] > 1000
    log = served.log.read_text()
    assert "Traceback" not in log, log
    assert "unexpected error" not in log, log
