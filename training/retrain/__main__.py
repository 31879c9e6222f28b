"""Goes on from a bundle with the events that came after it: `rqrec retrain --bundle BUNDLES --events FOLDER …`.

Known items keep their semantic IDs; new items get theirs from the tokenizer of the bundle, as in the service. The
networks learn the new interactions, mixed with a replay of old ones. The result is published beside the
bundle, and `current` names it, unless it recommends the latest interactions worse than the bundle's model.

Exit status 0: published, or there are no new interactions. 2: something must be corrected, as the message says. 3: the
retrained model is worse, and is not published. 4: a full training is due; the retrained model is published, unless a
new item cannot get a semantic ID. 5: published, but `current` was set to another bundle meanwhile, and stays.
"""

import argparse
import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rqrec.models.bundle.store import bundle_folder, require_current_link, target_of_current
from rqrec.models.errors import DISK_FULL, NotWritten, UserError, machine_fault, require_writable
from rqrec.models.interval import interval_s
from rqrec.training.cli import add_run_options, training_process
from rqrec.training.data.dataset import FilesChanged
from rqrec.training.evaluation.semantic_id_health import CollapsedSemanticIds
from rqrec.training.publish import UNFINISHED_BUNDLES, CurrentMoved
from rqrec.training.retrain.counted import lacks_old
from rqrec.training.retrain.outcome import Ending, Outcome
from rqrec.training.retrain.run import Retraining, open_parent, settings_of
from rqrec.training.runtime.distributed import barrier, rank, world_size
from rqrec.training.runtime.progress import command_progress, duration
from rqrec.training.runtime.workspace import open_workspace
from rqrec.training.runtime.workspace_lock import WorkspaceBusy, remove_half_written

logger = logging.getLogger("rqrec")


def main(arguments: Sequence[str] | None = None, *, program: str = "rqrec retrain") -> None:
    """Retrains once or repeatedly, and exits with the status of the last retraining.

    Args:
        arguments: The arguments of the command; None for those of this process.
        program: Name of the command in its help and messages.
    """
    options = parser(program).parse_args(arguments)
    # The signal raises an exception, so that half-written folders are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    has_worked = False
    with training_process(program):
        while True:
            begin_s = time.time()
            with command_progress(program):
                try:
                    ending = _retrain(options, begin_s)
                except Exception as error:
                    if options.every is None or not may_pass(error, has_worked=has_worked):
                        raise
                    logger.warning("retraining: %s; it is tried again after %s", error, duration(options.every))
                else:
                    if options.every is None:
                        sys.exit(ending.exit_status)
                    has_worked = True
            time.sleep(max(begin_s + options.every - time.time(), 0))


def may_pass(error: Exception, *, has_worked: bool) -> bool:
    """Returns whether another try may succeed after an error, although nobody changes the command.

    Args:
        error: The error that ended a retraining.
        has_worked: Whether the same command has ended without an error before. Then its settings are right, so the
            data, a bundle or the machine is at fault.
    """
    if world_size() > 1:  # one process alone must not begin anew
        return False
    fault = machine_fault(error)
    if isinstance(error, FilesChanged | WorkspaceBusy) or (fault is not None and fault[1] in DISK_FULL):
        return True
    return has_worked and (isinstance(error, UserError) or fault is not None)


def _retrain(options: argparse.Namespace, begin_s: float) -> Ending:
    """Retrains once, and reports how it ended."""
    if options.metrics is not None:
        require_writable(options.metrics.parent, "the folder of --metrics")
    instead_of = target_of_current(bundle_folder(options.bundle).parent)  # before its bundle is read
    parent = open_parent(options.bundle)
    require_writable(parent.path.parent, "the folder of the bundles")
    require_current_link(parent.path.parent)
    if rank() == 0:
        remove_half_written(parent.path.parent, UNFINISHED_BUNDLES)
    with open_workspace(options.work_dir, options.data_dir, resume=options.resume) as workspace:
        settings = settings_of(parent, options.set)
        run = Retraining(workspace, parent, tuple(options.events), settings, instead_of)
        ending = _run(run)
        barrier()
    verdict = run.verdict if ending not in (Ending.NOTHING_NEW, Ending.NO_ROOM) else None
    outcome = Outcome(ending, time.time(), time.time() - begin_s, run.num_new, verdict)
    logger.info("retraining: %s, after %s", ending.value[0].replace("_", " "), duration(outcome.seconds))
    if options.metrics is not None and rank() == 0:
        _write_metrics(outcome, options.metrics)
    return ending


def _write_metrics(outcome: Outcome, file: Path) -> None:
    """Writes the metrics. The bundle is published already, so a full disk changes nothing of how it ended."""
    try:
        outcome.write(file)
    except NotWritten as error:
        logger.warning("retraining: %s", error)


def _run(run: Retraining) -> Ending:
    """Runs the stages as far as they lead, and says what they found."""
    manifest = run.parent.manifest
    logger.info("retraining: %s has learnt until %s", manifest.version, manifest.learnt_until)
    if not run.num_new:
        logger.info("retraining: there are no interactions after that time, so there is nothing to learn")
        return Ending.NOTHING_NEW
    logger.info("retraining: %d new interactions, %d older ones", run.num_new, run.num_replayable)
    if not run.has_target:
        logger.info("retraining: too few of the new interactions follow another one of their user to learn from them")
        return Ending.NOTHING_NEW
    if lacks_old(run.num_replayable, run.parent):
        logger.warning(
            "retraining: the sources hold few of the interactions that the bundle has learnt, so little is replayed, "
            "and the bundle's transitions and long-term vectors stay: name the folder of the first training too, after "
            "--events"
        )
    try:
        checks = run.checks
    except CollapsedSemanticIds as error:
        logger.warning("retraining: nothing is published: %s", error)
        return Ending.NO_ROOM
    for check in checks:
        logger.log(logging.INFO if check.is_passed else logging.WARNING, "retraining: %s", check)
    logger.info("retraining: %s", run.verdict)
    retrain = run.settings.retrain
    if run.verdict.is_worse(judged_users=retrain.judged_users):
        logger.warning("retraining: the retrained model is worse, so it is not published, and the old one stays")
        return Ending.WORSE
    if run.verdict.users < retrain.judged_users:
        logger.warning("retraining: with fewer than %d users, the judge decides nothing", retrain.judged_users)
    try:
        logger.info("retraining: published %s", run.bundle)
    except CurrentMoved as error:
        logger.warning("retraining: %s", error)
        return Ending.SUPERSEDED
    return Ending.PUBLISHED if all(check.is_passed for check in checks) else Ending.FULL_TRAINING_DUE


def parser(program: str) -> argparse.ArgumentParser:
    """Returns the parser of the command line.

    Args:
        program: Name of the command in its help and messages.
    """
    options = argparse.ArgumentParser(
        program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--bundle", type=Path, required=True, help="a bundle, or a folder of bundles whose link `current` names one"
    )
    options.add_argument(
        "--events",
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="the folder of `rqrec export-events`, and folders of older interactions, such as that of the first "
        "training, of which some are replayed",
    )
    options.add_argument(
        "--every", type=interval_s, metavar="TIME", help="retrain again after this time, such as 6h or 1d"
    )
    options.add_argument(
        "--metrics", type=Path, metavar="FILE.prom", help="write metrics for node_exporter's textfile collector"
    )
    add_run_options(options, work_dir=Path("artifacts/retrain"))
    return options


if __name__ == "__main__":
    main(program="python -m training.retrain")
