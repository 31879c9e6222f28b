import re

import pytest

from benchmarks.support.running import free_port

pytest.importorskip("ray")
from ray.exceptions import AuthenticationError

from rqrec.models.ray_cluster import AUTO, RayUnavailable, ray_cluster


@pytest.mark.parametrize("address", ["", "somewhere", "127.0.0.1:", ":6379", "127.0.0.1:six", "127.0.0.1:700000"])
def test_an_address_that_cannot_be_one_is_refused_at_once(address: str) -> None:
    with pytest.raises(RayUnavailable, match="expected the address of a Ray cluster, as|expected a Ray cluster at"):
        ray_cluster(address).__enter__()


def test_an_address_at_which_nobody_listens_is_refused_at_once() -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(RayUnavailable, match=f"expected a Ray cluster at {address}, nothing answers there .*refused"):
        ray_cluster(address).__enter__()


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("Failed to connect to Ray cluster"),
        AuthenticationError("no token"),
        RuntimeError("Version\nother"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_cluster_that_refuses_this_process_is_not_said_to_be_missing(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr("ray.init", refuse)
    told = rf"cannot be joined \({re.escape(str(error).splitlines()[0])}\): .*RAY_AUTH_TOKEN"
    with pytest.raises(RayUnavailable, match=told) as raised:
        ray_cluster(AUTO).__enter__()
    assert "\n" not in str(raised.value)
