"""Log lines of paths that clients choose."""

from pathlib import Path

import httpx

from benchmarks.support.running import running_service
from tests.service.server.raw_sockets import ask


def test_logs_cannot_be_forged(bundles: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    settings = {"RQREC_BUNDLE": str(bundles), "RQREC_LOG_REQUESTS": "true"}
    with running_service(settings, log=log) as server:
        for path in ("/a%0aINFO: forged", "/%1b[31mred", "/a%e2%80%a8INFO: forged", "/%c2%85INFO: forged", "/a\x0bb"):
            ask(server, f"GET {path.replace(' ', '%20')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    text = log.read_bytes().decode()
    assert "\x1b" not in text
    assert not any(line.startswith("INFO: forged") for line in text.splitlines())


def test_access_logs_show_no_user(bundles: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    settings = {
        "RQREC_BUNDLE": str(bundles),
        "RQREC_DATA_DIR": str(tmp_path),
        "RQREC_LOG_REQUESTS": "true",
        "RQREC_ADMIN_TOKEN": "t",
    }
    with running_service(settings, log=log) as (url, _):
        event = {"user_id": "secret-user", "item_id": "116", "type": "view"}
        assert httpx.post(f"{url}/events", json={"events": [event]}).json()["accepted"] == 1
        assert httpx.post(f"{url}/recommend", json={"user_id": "secret-user"}).status_code == 200
        for path in ("/users/secret-user", "/Users/secret-user", "/users/secret-user%2Fmore", "/rec/users/secret-user"):
            for headers in ({}, {"authorization": "Bearer t"}):
                httpx.get(f"{url}{path}", headers=headers)
        assert "secret-user" not in httpx.get(f"{url}/metrics").text
    text = log.read_text()
    assert "GET /users/{user_id} 200" in text
    assert "secret-user" not in text
