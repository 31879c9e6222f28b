"""The name of the client that sent a request."""

from typing import Any

import pytest

from rqrec.service.admission.client_identity import ClientIdentity
from rqrec.service.settings import Settings


def scope_of(path: str = "/recommend", address: str = "1.1.1.1", **headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": "POST", "path": path, "client": (address, 1), "headers": pairs}


PROXY = ["10.0.0.0/8", "fd00::/8"]


@pytest.mark.parametrize(
    ("scope", "client"),
    [
        (scope_of(address="1.2.3.4", x_api_key="new", x_forwarded_for="9.9.9.9"), "1.2.3.4"),
        (scope_of(address="10.1.1.1", x_forwarded_for="9.9.9.9"), "9.9.9.9"),
        (scope_of(address="10.1.1.1", x_forwarded_for="8.8.8.8, 9.9.9.9, 10.2.2.2"), "9.9.9.9"),
        (scope_of(address="10.1.1.1", x_api_key="shop"), "key:shop"),
        (scope_of(address="10.1.1.1"), "10.1.1.1"),
        (scope_of(address="fd00::1", x_forwarded_for="2001:db8:1:2:3::4"), "2001:db8:1:2::/64"),
        (scope_of(address="2001:db8:1:2::1"), "2001:db8:1:2::/64"),
        (scope_of(address="2001:db8:1:2:ffff::1"), "2001:db8:1:2::/64"),
        (scope_of(address="::ffff:1.2.3.4"), "1.2.3.4"),
    ],
)
def test_a_client_is_what_it_cannot_choose(scope: dict[str, Any], client: str) -> None:
    networks = Settings.model_validate({"trusted_proxies": PROXY}).trusted_proxies
    assert ClientIdentity(networks, "X-API-Key").identify(scope) == client
