"""Starts the nodes of a Ray cluster on this machine, each with one core, and kills one of them."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.support.running import free_port

STARTS_WITHIN_S = 120.0
RAY = Path(sys.executable).with_name("ray")


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
        """The ids of the processes that make lists."""
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


@contextmanager
def two_nodes(folder: Path) -> Iterator[tuple[str, Mapping[str, str], list[RayNode]]]:
    """Starts a cluster of two nodes, and kills it at the end of the block.

    Yields:
        The address of the cluster, the environment of its clients, and the nodes, the head first.
    """
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    environment, nodes = {**os.environ, **own, "OMP_NUM_THREADS": "1"}, list[RayNode]()
    address = f"127.0.0.1:{free_port()}"
    port, temporary = address.rpartition(":")[2], f"--temp-dir={folder}"  # short, because it holds sockets
    try:
        client_port = f"--ray-client-server-port={free_port()}"
        head = ("--head", f"--port={port}", "--include-dashboard=false", client_port, temporary)
        nodes.append(RayNode(folder, "head", environment, *head))
        nodes.append(RayNode(folder, "other", environment, f"--address={address}"))
        yield address, environment, nodes
    finally:
        for node in reversed(nodes):
            node.kill()
