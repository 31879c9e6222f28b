"""The system under test: two replicas, Redis if there is one, and the export. All of them can be killed."""

import asyncio
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.support.running import RedisServer, running_service

EXPORT = ("-m", "service.export_events")
EXIT_DONE, EXIT_UNAVAILABLE = 0, 3
EXPORT_LASTS_S = (0.5, 6.0)  # the age at which an export is killed


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


class Export:
    """The command `rqrec export-events`, run again and again.

    Args:
        settings: Environment variables that name the event store (RQREC_…).
        folder: The folder of the exported events.
        log: The file of its output.

    Attributes:
        counts: How many runs ended well (`exports`), found no store (`exports without a store`) or were killed
            (`exports killed`).
    """

    def __init__(self, settings: Mapping[str, str], folder: Path, log: Path) -> None:
        self.counts: Counter[str] = Counter(exports=0)
        self._settings = settings
        self._folder = folder
        self._log = log

    async def run(self, kill_after_s: float | None = None) -> None:
        """Runs the command once.

        Args:
            kill_after_s: The age in seconds at which the command is killed; None to let it end.

        Raises:
            RuntimeError: If the command ends with a status that means neither success nor a store that is away.
        """
        with self._log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *EXPORT, str(self._folder), env=dict(self._settings), stdout=output, stderr=output
            )
        try:
            status = await asyncio.wait_for(process.wait(), kill_after_s)
        except TimeoutError:
            self.counts["exports killed"] += 1
        else:
            if status not in (EXIT_DONE, EXIT_UNAVAILABLE):
                raise RuntimeError(f"the export must end with status 0 or 3, but ended with {status}: see {self._log}")
            self.counts["exports" if status == EXIT_DONE else "exports without a store"] += 1
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def run_often(self, rng: random.Random) -> None:
        """Runs the command until it is cancelled, and kills half of the runs."""
        while True:
            await self.run(rng.uniform(*EXPORT_LASTS_S) if rng.random() < 0.5 else None)


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
