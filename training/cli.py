"""The command line shared by all training commands."""

import argparse
import importlib.util
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from functools import partial
from pathlib import Path

from rqrec.models.errors import DISK_FULL, UserError, machine_fault
from rqrec.training.run import Run, RunSettings
from rqrec.training.runtime.config import DEFAULT_CONFIG, PACKAGED_CONFIGS, read_settings
from rqrec.training.runtime.distributed import barrier, destroy, init
from rqrec.training.runtime.loop import TrainingInterrupted
from rqrec.training.runtime.parts import RunTasks, run_here
from rqrec.training.runtime.progress import command_progress, set_up_output
from rqrec.training.runtime.shared_cores import warn_of_shared_cores
from rqrec.training.runtime.workspace import StageElsewhere, open_workspace

EXIT_INTERRUPTED = 130
EXIT_REFUSED = 2
RAY_FILES = ".ray"  # in the workspace
DATA = "data"
ITEM_STAGES = (
    DATA,
    "features",
    "semantic_ids",
)  # with --ray they run in the first process, and their parts by Ray Data
# Without Ray's dashboard, its workers say this each second.
UNWANTED_LINES = "Failed to query Ray Train Controller|No path found after"
# What to do if the machine refuses to write.
FREE_SPACE = "free space there, or use another folder (--work-dir); finished stages are kept"
USE_YOUR_OWN = "use a folder that you may write to (--work-dir)"


class NoRay(UserError):
    """Raised when a training on Ray is asked for and Ray is not installed."""


def stage_command(
    ask: Callable[[Run], object],
    description: str | None,
    *,
    program: str | None = None,
    arguments: Sequence[str] | None = None,
) -> None:
    """Runs a training command: parses the command line, opens the workspace (folder of results), and calls `ask`.

    The process exits with status 2 and one line on standard error if the user can fix the problem, such as a wrong
    setting or a full disk. It exits with status 130 after an interruption (Ctrl-C); the same command, run again,
    resumes the training.

    Args:
        ask: A function that reads one result of a `Run`, such as `lambda run: run.decoder`. Reading the result runs its
            stage and the stages before it.
        description: The description for `--help`.
        program: Name of the command in its help and messages; by default the name of the running script.
        arguments: The arguments after the name of the command; None for those of this process (`sys.argv`).
    """
    program = program or Path(sys.argv[0]).name
    parser = _parser(description, program)
    options = parser.parse_args(arguments)
    if options.ray is None and options.workers is not None:
        parser.error("--workers needs --ray; to start processes on this machine without Ray, use torchrun")
    if options.workers is not None and options.workers < 1:
        parser.error(f"--workers must be at least 1, got {options.workers}")
    if options.ray is not None and not options.resume:
        parser.error("--no-resume cannot be used with --ray: a training that has lost a worker resumes")
    # The signal raises an exception, so that half-written folders are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with training_process(program):
        settings = read_settings(RunSettings, options.config, _bindings(options))
        folders = options.work_dir, options.data_dir
        if options.ray is not None:
            _run_on_ray(ask, settings, *folders, program=program, address=options.ray, workers=options.workers)
            return
        with command_progress(program), open_workspace(*folders, resume=options.resume) as workspace:
            ask(Run(workspace, settings))
            barrier()  # a rank that exits early would break the connections of the others


def _run_on_ray(
    ask: Callable[[Run], object],
    settings: RunSettings,
    work_dir: Path,
    data_dir: Path,
    *,
    program: str,
    address: str,
    workers: int | None,
) -> None:
    """Runs the stages on a Ray cluster: those of ITEM_STAGES by this process and Ray Data, the others by Ray Train."""
    if importlib.util.find_spec("ray") is None:
        raise NoRay("--ray needs the extra ray, which is not installed: pip install 'rqrec[ray]'")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", UNWANTED_LINES)  # Ray reads it when it is imported
    from rqrec.models.ray_cluster import ray_cluster  # noqa: PLC0415 - needs the extra `ray`
    from rqrec.training.runtime.ray_workers import run_tasks_on_ray, train_on_ray  # noqa: PLC0415 - needs it too

    def ask_here(run_tasks: RunTasks, may_run: Callable[[str], bool], *, tells_current: bool = False) -> bool:
        opened = open_workspace(work_dir, data_dir, may_run=may_run, tells_current=tells_current)
        with command_progress(program), opened as workspace, suppress(StageElsewhere):
            ask(Run(workspace, settings, run_tasks))
            return True
        return False

    def work() -> None:
        set_up_output()
        logging.getLogger().setLevel(logging.WARNING)  # Ray lets all libraries tell what they do
        init()
        with ExitStack() as opened:
            # The results are printed at the end, by the process that started the training.
            opened.enter_context(redirect_stdout(opened.enter_context(Path(os.devnull).open("w"))))
            opened.enter_context(command_progress("worker"))
            others = open_workspace(work_dir, data_dir, may_run=_trains, tells_current=False)
            with suppress(StageElsewhere):
                ask(Run(opened.enter_context(others), settings))
            barrier()

    # Mistakes in the data are told before Ray starts.
    if ask_here(run_here, lambda stage: stage == DATA, tells_current=True):
        return
    with ray_cluster(address, shows_output=True):
        while not ask_here(partial(run_tasks_on_ray, workers=workers), ITEM_STAGES.__contains__):
            train_on_ray(work, workers=workers, files=work_dir / RAY_FILES)


def _trains(stage: str) -> bool:
    return stage not in ITEM_STAGES


@contextmanager
def training_process(program: str) -> Iterator[None]:
    """Sets up a process that trains. Ends it with one line and an exit status if the block raises what a user can fix.

    The statuses are those of `stage_command`.

    Args:
        program: The name of the command in messages.
    """
    set_up_output()
    try:
        init()
        warn_of_shared_cores()
        yield
    except UserError as error:
        sys.exit(_complain(program, error, EXIT_REFUSED))
    except (TrainingInterrupted, KeyboardInterrupt) as error:
        where = f": {error}" if str(error) else ""
        sys.exit(_complain(program, f"interrupted{where} - run the same command to resume", EXIT_INTERRUPTED))
    except Exception as error:
        fault = machine_fault(error)
        if fault is None:
            raise
        advice = FREE_SPACE if fault[1] in DISK_FULL else USE_YOUR_OWN
        sys.exit(_complain(program, f"{fault[0]} - {advice}", EXIT_REFUSED))
    finally:
        destroy()


def _bindings(options: argparse.Namespace) -> list[str]:
    dataset = [f"DatasetSettings.source = {options.dataset!r}"] if options.dataset else []
    return [*options.set, *dataset]


def _parser(description: str | None, program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        program, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    packaged = ", ".join(sorted(file.name for file in PACKAGED_CONFIGS.glob("*.gin")))
    parser.add_argument(
        "config",
        nargs="*",
        type=Path,
        default=[DEFAULT_CONFIG],
        help=f"gin files, or names of packaged ones: {packaged} (default: {DEFAULT_CONFIG.name})",
    )
    parser.add_argument("--dataset", help="a MovieLens release by name, or a folder; overrides DatasetSettings.source")
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="train in workers of a Ray cluster: its address, auto (the cluster of this machine), or local to start "
        "Ray here; embed and tokenise items by an actor for each core or GPU. After Ctrl-C the same command goes on "
        "from the last periodic checkpoint; --no-resume is refused. A cluster with a token needs RAY_AUTH_MODE=token "
        "and RAY_AUTH_TOKEN",
    )
    parser.add_argument(
        "--workers",
        type=int,
        help="workers and actors of --ray, each with a core or more (default: a worker for each GPU, or else for each "
        "machine, and an actor for each GPU or core)",
    )
    add_run_options(parser, work_dir=Path("artifacts/work"))
    return parser


def add_run_options(parser: argparse.ArgumentParser, *, work_dir: Path) -> None:
    """Adds the options that all commands share which run stages: folders, `--resume` and `--set`.

    Args:
        parser: The parser of the command.
        work_dir: The default folder of the stages' results.
    """
    parser.add_argument(
        "--work-dir",
        type=Path,
        default=work_dir,
        help="folder of the stages' results (default: %(default)s)",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path("artifacts/data"),
        help="folder of downloaded data sets (default: %(default)s)",
    )
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="resume from the newest checkpoint or parts of the same inputs (default), or start over",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="BINDING", help="a gin binding, such as DecoderSettings.epochs=3"
    )


def _complain(program: str, problem: object, status: int) -> int:
    print(f"{program}: {problem}", file=sys.stderr)
    return status
