from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.support.running import running_service
from tests.service.server.raw_sockets import Running


@pytest.fixture(scope="module")
def server(bundles: Path) -> Iterator[Running]:
    """A service with short time limits and few connections."""
    settings = {
        "RQREC_BUNDLE": str(bundles),
        "RQREC_HEAD_TIMEOUT_S": "1",
        "RQREC_BODY_TIMEOUT_S": "1",
        "RQREC_SEND_TIMEOUT_S": "1",
        "RQREC_KEEP_ALIVE_S": "2",
        "RQREC_MAX_BODIES_BYTES": str(4 << 20),
        "RQREC_MAX_CONNECTIONS": "200",
        "RQREC_MAX_CLIENT_CONNECTIONS": "150",
    }
    with running_service(settings) as (url, process):
        yield url, process
