"""Moves users' events from the event store of the service to Parquet files: `rqrec export-events FOLDER`.

With Redis, it also writes the items that clients have written to FOLDER/items.written.jsonl, for `rqrec retrain`.

The environment variables RQREC_… choose the store as for the service: Redis if RQREC_REDIS_URL is set, else the file in
RQREC_DATA_DIR. The files are FOLDER/interactions/day=2026-01-31/part-00000012.parquet, by the day of the export. Each
event is exported once, even if the command is killed. Exported events are removed from the store; histories of users
stay there. Events of forgotten users are removed from the files. Export a store to one folder only. The folder knows
its store, and another store is refused.
"""

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from rqrec.models.errors import NotWritten, UserError
from rqrec.models.interval import interval_s
from rqrec.service.composition import EVENTS_FILE, event_store, redis_options
from rqrec.service.errors import StoreUnavailable
from rqrec.service.export_events.event_files import EventFiles
from rqrec.service.export_events.export import export_events
from rqrec.service.export_events.items_export import ItemsExport
from rqrec.service.export_events.items_file import ItemsFile
from rqrec.service.export_events.written_items import ItemsUnavailable
from rqrec.service.logs import set_up_logs
from rqrec.service.redis.client import RedisGate
from rqrec.service.settings import Settings, faults_of
from rqrec.service.telemetry import Metrics

EXIT_REFUSED, EXIT_UNAVAILABLE = 2, 3
logger = logging.getLogger("rqrec")


def main(arguments: Sequence[str] | None = None, *, program: str = "rqrec export-events") -> None:
    """Exports events, once or repeatedly.

    Exits with status 2 if a setting or the folder cannot be used, and with status 3 if a single export finds that the
    store does not answer or that the written items cannot be read. A repeated export logs that, and likewise a file
    that cannot be written, and tries again.

    Args:
        arguments: The arguments of the command; None for those of this process.
        program: Name of the command in its help and messages.
    """
    options = _parser(program).parse_args(arguments)
    # As the first process of a container it would ignore the signal. The exception closes the connections.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        settings = Settings()
        set_up_logs(settings.log_format)
        files = EventFiles(options.folder)
        with files.locked():
            asyncio.run(_export(settings, files, ItemsFile(options.folder), options))
    except ValidationError as error:
        sys.exit(_complain(program, "; ".join(faults_of(error)), EXIT_REFUSED))
    except (StoreUnavailable, ItemsUnavailable) as error:
        sys.exit(_complain(program, f"{error} - run the same command again", EXIT_UNAVAILABLE))
    except (UserError, OSError) as error:
        sys.exit(_complain(program, error, EXIT_REFUSED))


async def _export(settings: Settings, files: EventFiles, items_file: ItemsFile, options: argparse.Namespace) -> None:
    every_s: float | None = options.every
    gate = None if settings.redis_url is None else RedisGate(redis_options(settings), Metrics())
    store = event_store(settings, gate)
    items = None if gate is None else ItemsExport(gate, items_file)
    try:
        while True:
            try:
                if gate is None:
                    _check_exists(settings.data_dir / EVENTS_FILE)
                exported = await export_events(store, files, replaces=options.replaces_lost_store)
                logger.info(
                    "%d events exported, %d events of forgotten users removed", exported.events, exported.forgotten
                )
                if items is not None:  # after the events, whose items were written before
                    await items.update()
            except (StoreUnavailable, ItemsUnavailable, NotWritten) as error:
                if every_s is None:
                    raise
                logger.warning("%s: trying again in %g s", error, every_s)
            if every_s is None:
                return
            await asyncio.sleep(every_s)
    finally:
        await store.close()
        if gate is not None:
            await gate.close()


def _check_exists(file: Path) -> None:
    if not file.exists():
        raise StoreUnavailable(
            f"expected an event store in {file.absolute()}, found none: set RQREC_DATA_DIR to the folder that the "
            "service has, or send a first event"
        )


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder of the exported events")
    parser.add_argument(
        "--every", type=interval_s, metavar="TIME", help="export again after this time, such as 60s, 5m, 1h or 1d"
    )
    parser.add_argument(
        "--replaces-lost-store",
        action="store_true",
        help="go on in the folder of another event store, which is lost and whose place this store has taken",
    )
    return parser


def _complain(program: str, problem: object, status: int) -> int:
    print(f"{program}: {problem}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main(program="python -m service.export_events")
