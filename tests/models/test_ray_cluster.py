import pytest

from benchmarks.support.running import free_port

pytest.importorskip("ray")
from rqrec.models.ray_cluster import RayUnavailable, ray_cluster


@pytest.mark.parametrize("address", ["", "somewhere", "127.0.0.1:", ":6379", "127.0.0.1:six", "127.0.0.1:700000"])
def test_an_address_that_cannot_be_one_is_refused_at_once(address: str) -> None:
    with pytest.raises(RayUnavailable, match="expected the address of a Ray cluster, as|expected a Ray cluster at"):
        ray_cluster(address).__enter__()


def test_an_address_at_which_nobody_listens_is_refused_at_once() -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(RayUnavailable, match=f"expected a Ray cluster at {address}, found none .*refused"):
        ray_cluster(address).__enter__()
