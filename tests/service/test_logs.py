"""Log lines of paths that clients choose."""

from pathlib import Path

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
