"""Goes on from a bundle with the events that came after it: `rqrec retrain --bundle BUNDLES --events FOLDER …`.

Known items keep their semantic IDs; new items get theirs from the tokenizer of the bundle, as in the service. The
networks learn the new interactions, mixed with a replay of old ones. The result is published beside the
bundle, and `current` names it, unless it recommends the latest interactions worse than the bundle's model.

Exit status 0: published, or there are no new interactions. 2: something must be corrected, as the message says. 3: the
retrained model is worse, and is not published. 4: a full training is due; the retrained model is published, unless a
new item cannot get a semantic ID.
"""

import argparse
import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rqrec.models.interval import interval_s
from rqrec.training.cli import add_run_options, training_process
from rqrec.training.evaluation.semantic_id_health import CollapsedSemanticIds
from rqrec.training.publish import UNFINISHED_BUNDLES
from rqrec.training.retrain.outcome import Ending, Outcome
from rqrec.training.retrain.run import Retraining, open_parent, settings_of
from rqrec.training.runtime.distributed import barrier, rank
from rqrec.training.runtime.progress import command_progress, duration
from rqrec.training.runtime.workspace import open_workspace
from rqrec.training.runtime.workspace_lock import remove_half_written

REPLAY_MISSING = 0.5  # with less than this share of the old interactions, transitions and replay are poor
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
    with training_process(program):
        while True:
            begin_s = time.time()
            with command_progress(program):
                ending = _retrain(options, begin_s)
            if options.every is None:
                sys.exit(ending.exit_status)
            time.sleep(max(begin_s + options.every - time.time(), 0))


def _retrain(options: argparse.Namespace, begin_s: float) -> Ending:
    """Retrains once, and reports how it ended."""
    parent = open_parent(options.bundle)
    if rank() == 0:
        remove_half_written(parent.path.parent, UNFINISHED_BUNDLES)
    with open_workspace(options.work_dir, options.data_dir, resume=options.resume) as workspace:
        run = Retraining(workspace, parent, tuple(options.events), settings_of(parent, options.set))
        ending = _run(run)
        barrier()
    verdict = run.verdict if ending in (Ending.PUBLISHED, Ending.WORSE, Ending.FULL_TRAINING_DUE) else None
    outcome = Outcome(ending, time.time(), time.time() - begin_s, run.num_new, verdict)
    logger.info("retraining: %s, after %s", ending.value[0].replace("_", " "), duration(outcome.seconds))
    if options.metrics is not None and rank() == 0:
        outcome.write(options.metrics)
    return ending


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
    if run.num_replayable < REPLAY_MISSING * run.parent.learned.popularity_R.sum():
        logger.warning(
            "retraining: the sources hold few of the interactions that the bundle has learnt, so little is replayed "
            "and few transitions are counted: name the folder of the first training too, after --events"
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
    logger.info("retraining: published %s", run.bundle)
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
