"""Makes the lists of all users of a file, without HTTP: `rqrec bulk --histories users.parquet --out lists`.

The input is Parquet, one file or a folder: a row for each user with the columns user_id and history (a list of item
ids, oldest first), or the events that `rqrec export-events` has written. The output is Parquet with the columns
user_id, rank, item_id and score, in OUT/lists. The lists are those that POST /recommend returns for the same requests.

A run that was killed goes on if the same command is given again. No list is made twice or missing.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from polars.exceptions import PolarsError
from pydantic import ValidationError

from rqrec.models.errors import UserError, first_line
from rqrec.service.bulk.local_pool import local_pool
from rqrec.service.bulk.part_maker import Job
from rqrec.service.bulk.request import read_fields
from rqrec.service.bulk.run import BulkOptions, Outcome, Pool, run_bulk
from rqrec.service.logs import set_up_logs
from rqrec.service.serving.device import NoDevice, check_device, uses_cuda
from rqrec.service.settings import Settings, faults_of

EXIT_REFUSED, EXIT_INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None, *, program: str = "rqrec bulk") -> None:
    """Makes the lists of all users. Exits with status 2 if an option, the input or the output folder cannot be used.

    Args:
        arguments: The arguments of the command; None for those of this process.
        program: Name of the command in its help and messages.
    """
    parser = _parser(program)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        settings = Settings()
        set_up_logs(settings.log_format)
        bulk = BulkOptions(
            bundle=options.bundle or settings.bundle,
            source=options.histories or options.events,
            has_events=options.events is not None,
            fields=read_fields(options.request, _given_fields(options)),
            out=options.out,
        )
        outcome = run_bulk(bulk, settings, _pool(options, settings))
    except ValidationError as error:
        sys.exit(_complain(program, "; ".join(faults_of(error))))
    except (UserError, NoDevice, OSError, PolarsError) as error:
        sys.exit(_complain(program, first_line(error)))
    except KeyboardInterrupt:
        _complain(program, "interrupted - run the same command to go on")
        sys.exit(EXIT_INTERRUPTED)
    print("\n".join(_told(outcome, options.out)))


def _pool(options: argparse.Namespace, settings: Settings) -> Callable[[Job], AbstractContextManager[Pool]]:
    if options.ray is None:
        check_device(settings.backend, settings.device)
        cores = 1 if uses_cuda(settings.backend, settings.device) else len(os.sched_getaffinity(0))
        return partial(local_pool, workers=options.workers or cores)
    from rqrec.service.bulk.ray_pool import ray_pool  # noqa: PLC0415 - Ray is an extra

    return partial(ray_pool, address=options.ray, workers=options.workers)


def _given_fields(options: argparse.Namespace) -> dict[str, Any]:
    given = {"k": options.k, "beam_width": options.beam_width, "filter": options.filter}
    return {name: value for name, value in given.items() if value is not None}


def _told(outcome: Outcome, out: Path) -> list[str]:
    figures, rate = outcome.figures, outcome.num_users / outcome.seconds if outcome.seconds else 0.0
    lines = [
        f"{figures.users:,} users: {figures.lists:,} lists with {figures.items:,} items in {out / 'lists'}",
        f"{figures.popular:,} users have no known item in the history: they get the most popular items",
        f"{figures.unknown_items:,} history items are unknown; {figures.short:,} lists have fewer than k items, "
        f"{figures.empty:,} of them none",
    ]
    if figures.users and not figures.lists:
        lines.append("nobody has a list: no item passes the filter and the exclusions, or all users are skipped")
    if figures.skipped:
        lines.append(f"{figures.skipped:,} users are skipped: {out / 'skipped'} says why")
    if outcome.num_users:
        lines.append(f"{outcome.num_users:,} users in {outcome.seconds:,.1f} s: {rate:,.0f} users/s")
    else:
        lines.append("all lists were there already")
    return lines


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--bundle", type=Path, help="a bundle, or a folder of bundles with `current`; by default that of RQREC_BUNDLE"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--histories", type=Path, metavar="PATH", help="a Parquet file or a folder of user_id, history")
    source.add_argument("--events", type=Path, metavar="FOLDER", help="a folder of rqrec export-events")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the folder of the lists")
    parser.add_argument(
        "--request",
        type=Path,
        metavar="FILE",
        help="JSON with fields of POST /recommend for all users; the options below come before it",
    )
    parser.add_argument("--k", type=int, help="items of a list, 1 to 100 (default 10)")
    parser.add_argument(
        "--beam-width", type=int, help="beams of the search (default RQREC_BEAM_WIDTH, which is 50 by default)"
    )
    parser.add_argument("--filter", type=_json, metavar="JSON", help="a filter as in POST /recommend")
    parser.add_argument(
        "--workers", type=_positive, help="processes, each with one core (default: all cores; on a GPU one)"
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="make the lists by Ray Data with an actor for each core or GPU: `local`, `auto` (the cluster of this "
        "machine) or the address of a cluster; needs the extra ray. A cluster with a token needs RAY_AUTH_MODE=token "
        "and RAY_AUTH_TOKEN",
    )
    return parser


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(
            f'expected JSON such as {{"genres": {{"any_of": ["Drama"]}}}}, got {text!r}'
        ) from error


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of 1 or more, got {text!r}")
    return int(text)


def _complain(program: str, problem: object) -> int:
    print(f"{program}: {problem}", file=sys.stderr)
    return EXIT_REFUSED


if __name__ == "__main__":
    main(program="python -m service.bulk")
