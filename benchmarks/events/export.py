"""Runs the command `rqrec export-events` again and again, and kills some of the runs."""

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

EXPORT = ("-m", "service.export_events")
EXIT_DONE, EXIT_UNAVAILABLE = 0, 3
EXPORT_LASTS_S = (0.5, 6.0)  # the age at which an export is killed


class Export:
    """The command `rqrec export-events`, run again and again.

    Args:
        settings: Environment variables that name the event store (RQREC_…).
        folder: The folder of the exported events.
        log: The file of its output.

    Attributes:
        folder: The folder of the exported events.
        counts: How many runs ended well (`exports`), found no store (`exports without a store`) or were killed
            (`exports killed`).
    """

    def __init__(self, settings: Mapping[str, str], folder: Path, log: Path) -> None:
        self.counts: Counter[str] = Counter(exports=0)
        self._settings = settings
        self.folder = folder
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
                sys.executable, *EXPORT, str(self.folder), env=dict(self._settings), stdout=output, stderr=output
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

    async def run_often(self, rng: random.Random, pause_s: float = 0.0) -> None:
        """Runs the command until it is cancelled, and kills half of the runs.

        Args:
            rng: Source of random choices.
            pause_s: Pause between two runs in seconds.
        """
        while True:
            await asyncio.sleep(pause_s)
            await self.run(rng.uniform(*EXPORT_LASTS_S) if rng.random() < 0.5 else None)
