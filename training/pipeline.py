"""Runs every stage from raw data to a published bundle, and prints the results of the evaluation.

A stage is skipped if its result for the same inputs and settings is stored.
"""

import shlex

from rich.console import Console

from rqrec.training.cli import stage_command
from rqrec.training.evaluate import load_results
from rqrec.training.evaluation.report import results_table
from rqrec.training.run import Run
from rqrec.training.runtime.distributed import rank


def train_and_publish(run: Run) -> None:
    """Trains, evaluates and publishes a model. Prints the results, the bundle's folder and the command to serve it."""
    console = Console(quiet=rank() > 0)
    for table in results_table(load_results(run.evaluation)):
        console.print(table)
    console.print(f"bundle: {run.bundle}", soft_wrap=True)
    serve = f"RQREC_BUNDLE={shlex.quote(str(run.bundle.parent))} rqrec serve"
    console.print(f"to serve it: {serve}", soft_wrap=True, markup=False, highlight=False)


if __name__ == "__main__":
    stage_command(train_and_publish, __doc__)
