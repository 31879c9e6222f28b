"""The system under test: two replicas, Redis if there is one, and the export. All of them can be killed."""

import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.events.export import Export
from benchmarks.support.running import RedisServer, running_service


class Replica:
    """One replica of the service in a process of its own.

    Args:
        settings: Environment variables of the service (RQREC_…).
        log: The file of its output.

    Attributes:
        url: Its address; None while it does not run.
    """

    def __init__(self, settings: Mapping[str, str], log: Path) -> None:
        self.url: str | None = None
        self._settings = settings
        self._log = log
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the replica and waits until it is ready. Takes another port each time."""
        self.url, self._process = self._stack.enter_context(running_service(self._settings, log=self._log))

    def kill(self) -> None:
        """Kills the replica with SIGKILL."""
        self.url = None
        if self._process is not None:
            self._process.kill()
            self._process = None
        self._stack.close()


class System:
    """The replicas, Redis and the export.

    Args:
        replicas: The replicas, which run.
        redis: Redis, which runs; None if the event store is SQLite.
        export: The export.
    """

    def __init__(self, replicas: list[Replica], redis: RedisServer | None, export: Export) -> None:
        self.replicas = replicas
        self.redis = redis
        self.export = export
