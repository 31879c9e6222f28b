"""The README's curl examples, and its Python examples of the client, run unchanged against a service."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from rqrec.service.contract.recommend import RecommendRequest
from tests.service.conftest import Served

README = (Path(__file__).parents[2] / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
CURLS = [curl for block in BLOCKS for curl in re.findall(r"^curl(?:.*\\\n)*.*$", block, flags=re.MULTILINE)]


PROGRAMS = [block for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL) if "Client(" in block]


def test_the_readme_has_examples() -> None:
    assert len(CURLS) >= 8
    assert len(PROGRAMS) >= 2


def test_the_readme_names_every_field_of_a_request() -> None:
    rows = re.search(r"## Asking for a list\n.*?\n\n(\|.*?)\n\n", README, flags=re.DOTALL)
    assert rows is not None
    named = {name for row in rows[1].splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == set(RecommendRequest.model_fields)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_python_example_runs(served: Served, program: str) -> None:
    code = program.replace("http://localhost:8000", served.url)
    environment = {**os.environ, "RQREC_ADMIN_TOKEN": served.token}
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("curl", CURLS)
def test_a_curl_example_is_answered(served: Served, curl: str) -> None:
    command = curl.replace("localhost:8000", served.url).replace("curl ", "curl --show-error --fail-with-body ", 1)
    version = "others" if "canary" in curl else "films"
    environment = {**os.environ, "RQREC_ADMIN_TOKEN": served.token, "VERSION": version}
    done = subprocess.run(
        ["bash", "-c", command], check=False, capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if "canary" in curl:  # which must not answer some of the examples that follow
        headers = {"authorization": f"Bearer {served.token}"}
        httpx.post(f"{served.url}/models/films/activate", headers=headers).raise_for_status()
    reply = json.loads(done.stdout or "null")
    if "/recommend" in curl:
        assert reply["items"]
        assert reply["fallback"] is None
        assert reply["unknown_items"] == []
