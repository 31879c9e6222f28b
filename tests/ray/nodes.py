"""Starts the nodes of a Ray cluster on this machine, each with one core, and kills one of them."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.support.running import free_port

STARTS_WITHIN_S = 120.0
RAY = Path(sys.executable).with_name("ray")
# A killed node counts as lost after five failed checks, by default one in three seconds.
CHECKS = {"RAY_health_check_period_ms": "500", "RAY_health_check_initial_delay_ms": "500"}


class RayNode:
    """A node of a Ray cluster, whose processes are a session of their own.

    Args:
        folder: The folder of its log.
        name: The name of the log.
        environment: The environment of its processes.
        arguments: The arguments of `ray start`.
    """

    def __init__(self, folder: Path, name: str, environment: Mapping[str, str], *arguments: str) -> None:
        self._log = folder / f"{name}.log"
        command = [str(RAY), "start", "--num-cpus=1", "--block", f"--dashboard-agent-listen-port={free_port()}"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *arguments], env=environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + STARTS_WITHIN_S
        while "Ray runtime started" not in self._log.read_text():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, "the node did not start"
            time.sleep(0.05)

    def processes(self) -> dict[int, str]:
        """The processes of the node: the title of each by its id."""
        listed = subprocess.run(
            ["ps", "-o", "pid=,args=", "-s", str(self._process.pid)], check=False, capture_output=True, text=True
        )
        rows = (line.split(maxsplit=1) for line in listed.stdout.splitlines())
        return {int(pid): title for pid, title in rows if "defunct" not in title}

    def workers(self) -> list[int]:
        """The ids of the processes that make parts."""
        return [pid for pid, title in self.processes().items() if "MapWorker" in title]

    def kill(self) -> None:
        """Kills all processes of the node at once."""
        while found := self.processes():
            for pid in found:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.02)
        self._process.wait()


@dataclass(frozen=True)
class RayNodes:
    """A Ray cluster on this machine.

    Attributes:
        folder: The folder of the nodes' logs.
        address: The address of the cluster.
        environment: The environment of its nodes and clients.
        head: The node that the others join.
    """

    folder: Path
    address: str
    environment: Mapping[str, str]
    head: RayNode

    @contextmanager
    def another(self) -> Iterator[RayNode]:
        """Lets a node join the cluster, and kills it at the end of the block."""
        node = RayNode(self.folder, "other", self.environment, f"--address={self.address}")
        try:
            yield node
        finally:
            node.kill()


@contextmanager
def ray_nodes() -> Iterator[RayNodes]:
    """Starts a cluster of one node, and kills it at the end of the block."""
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    environment = {**os.environ, **CHECKS, **own, "OMP_NUM_THREADS": "1"}
    port = free_port()
    with TemporaryDirectory(dir="/tmp") as folder:  # a short path, because it holds sockets
        options = ("--include-dashboard=false", f"--ray-client-server-port={free_port()}", f"--temp-dir={folder}")
        head = RayNode(Path(folder), "head", environment, "--head", f"--port={port}", *options)
        try:
            yield RayNodes(Path(folder), f"127.0.0.1:{port}", environment, head)
        finally:
            head.kill()
