"""Keeps the file of written items up to date with the catalogue of the active model."""

import asyncio
import logging

from rqrec.service.export_events.items_file import NAME, ItemsFile
from rqrec.service.export_events.written_items import LogState, read_written_items
from rqrec.service.redis.client import RedisGate

logger = logging.getLogger("rqrec")


class ItemsExport:
    """Writes the items of the active model that clients have written to a file, whenever they have changed.

    Args:
        gate: The client of Redis.
        file: The file of written items.
    """

    def __init__(self, gate: RedisGate, file: ItemsFile) -> None:
        self._gate = gate
        self._file = file
        self._exported: LogState | None = None

    async def update(self) -> None:
        """Writes the file if the items have changed since the last call.

        If the folder has another table of items, writes nothing, and a warning says so: a retraining reads only one.

        Raises:
            ItemsUnavailable: If the items cannot be read now. The file stays as it was.
        """
        if others := self._file.others():
            logger.warning("%s is not written, because %s is a table of items too: move it away", NAME, others[0])
            return
        if (found := await read_written_items(self._gate, self._exported)) is None:
            return
        state, items = found
        count = await asyncio.to_thread(self._file.replace, items)
        logger.info("%d written items exported", count)
        self._exported = state
