"""Runs every stage in order, from raw data to a published bundle, and prints what evaluation measured.

A stage whose inputs and settings have not changed is not run again.
"""

from rich.console import Console

from training.cli import stage_command
from training.distributed import process
from training.evaluate import evaluate, load_results, results_table
from training.publish import publish
from training.workspace import Workspace


def run(workspace: Workspace) -> None:
    """Trains, evaluates and publishes; prints the tables in between."""
    console = Console(quiet=process() > 0)
    for table in results_table(load_results(evaluate(workspace))):
        console.print(table)
    console.print(f"bundle: {publish(workspace)}", soft_wrap=True)


if __name__ == "__main__":
    stage_command(run, __doc__)
