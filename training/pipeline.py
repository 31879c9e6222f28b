"""Runs every stage from raw data to a published bundle, and prints the results of the evaluation.

A stage is skipped if its result for the same inputs and settings is stored.
"""

import shlex

from rich.console import Console

from rqrec.models.bundle.layout import REPORT
from rqrec.models.bundle.store import target_of_current
from rqrec.training.cli import stage_command
from rqrec.training.data.prepare import load_report
from rqrec.training.evaluate import load_results
from rqrec.training.evaluation.comparison import compare_with_best_baseline
from rqrec.training.evaluation.details import EvaluationDetails
from rqrec.training.evaluation.report import results_table
from rqrec.training.run import Run
from rqrec.training.runtime.distributed import rank

FILE_WIDTH = 140  # of the tables where the output goes to a file
REFITTED = (
    "the published model has also learnt from the held-out interactions (PublishSettings.refit); these results are of "
    "the model before"
)


def train_and_publish(run: Run) -> None:
    """Trains a model, evaluates it, and publishes it as a bundle, the folder that the service loads.

    At the end, a report is printed: what was read, dropped and changed in the data; the results of the evaluation; the
    folder of the bundle; the page of the training report; and the command that serves the model.
    """
    bundle, results, data = run.bundle, load_results(run.evaluation), load_report(run.data)
    console = Console(quiet=rank() > 0)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    console.print("Data", *(f"- {line}" for line in data), sep="\n", soft_wrap=True, markup=False, highlight=False)
    for table in results_table(results):
        console.print(table)
    compared = compare_with_best_baseline(EvaluationDetails.load(run.evaluation.path))
    notes = [] if compared is None or compared.is_better else [compared.line()]
    for line in (*notes, *([REFITTED] if run.refit else [])):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    report = [f"report: {run.report.path / REPORT}"] if run.report else []
    is_current = target_of_current(bundle.parent) == bundle.name
    serve = f"RQREC_BUNDLE={shlex.quote(str(bundle.parent if is_current else bundle))} rqrec serve"
    for line in (f"bundle: {bundle}", *report, f"to serve it: {serve}"):
        console.print(line, soft_wrap=True, markup=False, highlight=False)


if __name__ == "__main__":
    stage_command(train_and_publish, __doc__)
