"""The command line that every stage shares."""

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from training.config import ConfigError, load_config
from training.data.dataset import DataError
from training.distributed import join, leave, wait_for_all
from training.loop import TrainingInterrupted
from training.workspace import Workspace

EXIT_INTERRUPTED = 130
EXIT_REFUSED = 2


def stage_command(run: Callable[[Workspace], object], description: str | None) -> None:
    """Parses the command line, configures by gin, runs a stage and those before it, and exits 2 on bad input."""
    arguments = _parser(description).parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that half-written folders go
    bindings = list(arguments.set)
    if arguments.dataset:
        bindings.append(f"DatasetSettings.source = {arguments.dataset!r}")
    join()
    try:
        load_config(arguments.config, bindings)
        workspace = Workspace(arguments.work_dir, arguments.data_dir, arguments.resume)
        run(workspace)
        wait_for_all()  # whoever leaves first breaks the others' connections
    except (ConfigError, DataError, ImportError, ValueError) as error:
        sys.exit(_complain(error, EXIT_REFUSED))
    except (TrainingInterrupted, KeyboardInterrupt) as error:
        sys.exit(_complain(f"interrupted: {error} - run the same command to go on", EXIT_INTERRUPTED))
    finally:
        leave()


def _parser(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="+", type=Path, help="gin files")
    parser.add_argument("--dataset", help="a MovieLens release by name, or a folder; overrides DatasetSettings.source")
    parser.add_argument("--work-dir", type=Path, default=Path("artifacts/work"), help="where stages keep their results")
    parser.add_argument("--data-dir", type=Path, default=Path("artifacts/data"), help="where raw public data is kept")
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on from the newest checkpoint made from the same inputs (default), or start over",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="BINDING", help="a gin binding, such as DecoderSettings.epochs=3"
    )
    return parser


def _complain(problem: object, status: int) -> int:
    print(f"{Path(sys.argv[0]).name}: {problem}", file=sys.stderr)
    return status
