"""Connects to a Ray cluster, or starts one on this machine. It needs the package ray, the extra `ray`."""

import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import AuthenticationError

from rqrec.models.errors import UserError, first_line

LOCAL, AUTO = "local", "auto"  # addresses: start Ray on this machine, and take the cluster of this machine
REACHED_WITHIN_S = 10.0
NO_STATISTICS = {"RAY_USAGE_STATS_ENABLED": "0"}  # Ray sends statistics of its use to its makers by default


class RayUnavailable(UserError):
    """Raised when no Ray cluster at an address can be joined, or when it has no core or GPU for a worker."""


@contextmanager
def ray_cluster(
    address: str, *, cores: int | None = None, variables: Mapping[str, str] | None = None, shows_output: bool = False
) -> Iterator[dict[str, float]]:
    """Connects to a Ray cluster until the end of the block. Yields its resources by name, such as "CPU" and "GPU".

    Args:
        address: `local` to start Ray on this machine; `auto` or an address for a cluster that is running.
        cores: The number of cores of a cluster that starts here; None for all that this process may use.
        variables: Environment variables of the cluster's workers.
        shows_output: Whether this process prints what the workers print.

    Raises:
        RayUnavailable: If there is no cluster at the address, or if it refuses this process.
    """
    if address not in (LOCAL, AUTO):
        _check_reachable(address)
    os.environ.update(NO_STATISTICS)
    options: dict[str, Any] = {}
    if address == LOCAL:
        options = {"num_cpus": cores or len(os.sched_getaffinity(0)), "include_dashboard": False}
    try:
        ray.init(
            address,
            runtime_env={"env_vars": dict(variables or {})},
            log_to_driver=shows_output,
            logging_level=logging.ERROR,
            **options,
        )
    except (ConnectionError, ValueError, RuntimeError, AuthenticationError) as error:
        raise RayUnavailable(
            f"the Ray cluster at {address} cannot be joined ({first_line(error)}): begin one by `ray start --head` if "
            "none is running; if it wants a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN as on its nodes (`ray "
            f"get-auth-token` there prints it); it must run Ray {ray.__version__}, as this machine does"
        ) from error
    try:
        yield ray.cluster_resources()
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Checks that somebody listens at an address. Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        raise RayUnavailable(
            f"expected the address of a Ray cluster, as 10.0.0.5:6379, or {LOCAL} or {AUTO}, got {address!r}"
        )
    try:
        socket.create_connection((host, int(port)), timeout=REACHED_WITHIN_S).close()
    except (OSError, OverflowError) as error:
        raise RayUnavailable(
            f"expected a Ray cluster at {address}, nothing answers there ({error}): check the address, or begin a "
            "cluster by `ray start --head`"
        ) from error
