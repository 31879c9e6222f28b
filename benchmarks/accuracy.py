"""Measures how well the default recipe recommends, next to baselines on the same split.

    python -m benchmarks.accuracy --dataset /data/beauty

Every model ranks the whole catalogue without the items of the history. A list hits if it contains the user's exact
last item. The item before it is for validation. If a folder of sequence files has the days between actions
(`<Name>_day_gaps.txt`), everything is trained and measured a second time, with the actions of one day in the order of
a fixed hash. The order of a file says nothing about the time within a day.

The rank of every user's next item is written to `ranks_<order>_<model>.csv`. `--against` compares RQRec with such a
file of another model, user by user.
"""

import argparse
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.support.accuracy.bsarec import BsaRecSettings
from benchmarks.support.accuracy.judge import (
    BSAREC,
    INTERVAL_K,
    RQREC,
    RQREC_TIMED,
    SASREC,
    SECONDS,
    Comparison,
    Rivals,
    judge,
)
from benchmarks.support.accuracy.sasrec import SasRecSettings
from benchmarks.support.accuracy.user_ranks import compare_ranks, read_ranks
from benchmarks.support.machine import description
from rqrec.models.errors import UserError
from rqrec.training.data.dataset import DataError
from rqrec.training.data.sequence_files import read_day_gaps, read_sequence_files
from rqrec.training.run import Run, RunSettings
from rqrec.training.runtime.config import DEFAULT_CONFIG, read_settings
from rqrec.training.runtime.progress import command_progress, set_up_output
from rqrec.training.runtime.workspace import open_workspace

ORDERS = ("file", "shuffled")
SEEDS = (0, 1, 2)
FIRST_DAY = date(2000, 1, 1)
CONSOLE = Console(width=160)


def shuffle_ties(source: Path, target: Path) -> Path | None:
    """Writes a folder of sequence files as tables whose times are days. So the actions of one day are ties.

    The first action of every user is on `FIRST_DAY`, because the source only has the days between actions.

    Args:
        source: The folder of sequence files.
        target: The folder to write.

    Returns:
        The folder of tables, or None if the source has no days.
    """
    gaps = read_day_gaps(source)
    if gaps is None:
        return None
    interactions, items = read_sequence_files(source)
    target.mkdir(parents=True, exist_ok=True)
    interactions.join(gaps.lazy(), on=["user_id", "timestamp"]).select(
        "user_id", "item_id", (pl.lit(FIRST_DAY) + pl.duration(days="day")).alias("timestamp")
    ).collect().write_parquet(target / "interactions.parquet")
    items.write_parquet(target / "items.parquet")
    return target


def print_comparison(comparison: Comparison, title: str) -> None:
    """Prints the figures of all models, then how sure they are.

    Args:
        comparison: The results.
        title: The table's title.
    """
    table = Table(title=title, title_justify="left")
    for column in ("", *comparison.models):
        table.add_column(column, justify="right")
    for metric in dict.fromkeys(metric for row in comparison.models.values() for metric in row):
        table.add_row(metric, *(_number(metric, row.get(metric)) for row in comparison.models.values()))
    CONSOLE.print(table)
    for name, intervals in comparison.intervals.items():
        spreads = comparison.spreads.get(name, {})
        sure = [
            f"{metric} 95 % of users {low:+.4f} to {high:+.4f}"
            + (f", spread over seeds {spreads[metric]:.4f}" if metric in spreads else "")
            for metric, (low, high) in intervals.items()
        ]
        CONSOLE.print(f"{name}: {'; '.join(sure)}")
    CONSOLE.print(", ".join(f"{name} {value:.3f}" for name, value in comparison.tokenizer.items()))


def _number(metric: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if metric == SECONDS or value > 1 else f"{value:.4f}"


def run(
    dataset: str,
    orders: Sequence[str],
    bindings: Sequence[str],
    rivals: Rivals,
    root: Path,
    *,
    seeds: Sequence[int] = SEEDS,
    against: pl.DataFrame | None = None,
) -> None:
    """Compares the models for each order. Prints tables and one line of JSON, and writes results.json below the root.

    Args:
        dataset: A MovieLens release by name, or a folder.
        orders: Orders of actions with the same time: "file", "shuffled" or both.
        bindings: gin bindings.
        rivals: The trained models beside RQRec.
        root: The folder of workspaces and results.
        seeds: Seeds of RQRec and SASRec. A seed is that of the RQ-VAE and of the retriever.
        against: The ranks of another model on the same users, to compare RQRec with; None for no comparison.

    Raises:
        DataError: If `against` lacks users, or if only the shuffled order is wanted and the data set has no days.
    """
    sources = {"file": dataset}
    if "shuffled" in orders and Path(dataset).is_dir():
        shuffled = shuffle_ties(Path(dataset), root / "shuffled" / Path(dataset).name)
        if shuffled is not None:
            sources["shuffled"] = str(shuffled)
    possible = [order for order in orders if order in sources]
    if not possible:
        raise DataError(
            f"the shuffled order needs the days of {dataset} (<Name>_day_gaps.txt), but it has none: use --order file"
        )
    results = {}
    for order in possible:
        comparison = _judge(sources[order], bindings, rivals, root / order, seeds)
        print_comparison(
            comparison, f"{Path(dataset).name}, order of equal times: {order}, seeds {list(seeds)}; {description()}"
        )
        for name, ranks in comparison.ranks.items():
            ranks.write_csv(root / f"ranks_{order}_{name.lower()}.csv")
        if against is not None and comparison.users is not None:
            CONSOLE.print(compare_ranks(comparison.ranks[RQREC], against, comparison.users))
        kept = ("models", "spreads", "intervals", "tokenizer")
        results[order] = {name: getattr(comparison, name) for name in kept}
        (root / "results.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    models = results[possible[0]]["models"]
    last = {metric: models[RQREC][metric] for metric in (f"recall@{INTERVAL_K}", f"ndcg@{INTERVAL_K}")}
    last[f"sasrec_recall@{INTERVAL_K}"] = models[SASREC][f"recall@{INTERVAL_K}"]
    if RQREC_TIMED in models:
        last[f"timed_ndcg@{INTERVAL_K}"] = models[RQREC_TIMED][f"ndcg@{INTERVAL_K}"]
    if BSAREC in models:
        last[f"bsarec_ndcg@{INTERVAL_K}"] = models[BSAREC][f"ndcg@{INTERVAL_K}"]
    print(json.dumps({**last, "seeds": len(seeds)}))


def _judge(source: str, bindings: Sequence[str], rivals: Rivals, root: Path, seeds: Sequence[int]) -> Comparison:
    runs = []
    with ExitStack() as workspaces:
        for seed in seeds:
            classes = ("RqVaeSettings", "ShortTermSettings", "DecoderSettings")
            of_seed = [f"{settings_class}.seed = {seed}" for settings_class in classes]
            more = [*bindings, *of_seed, f"DatasetSettings.source = {source!r}"]
            settings = read_settings(RunSettings, [DEFAULT_CONFIG], more)
            workspace = workspaces.enter_context(open_workspace(root / f"seed-{seed}", Path("artifacts/data")))
            runs.append(Run(workspace, settings))
        return judge(runs, rivals)


def main() -> None:
    """Parses the command line and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="a MovieLens release by name, or a folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="of RQRec and SASRec (default 0 1 2)")
    parser.add_argument("--epochs", type=int, help="passes over the data, of all models (default: each recipe's)")
    parser.add_argument(
        "--bsarec-seeds", type=int, default=1, help="of BSARec, which takes longest (default 1; 0 to leave it out)"
    )
    parser.add_argument(
        "--order",
        choices=(*ORDERS, "both"),
        default="both",
        help="of actions at the same time: the file's, a fixed hash's where days are given, or both (default)",
    )
    parser.add_argument("--work-dir", type=Path, help="default artifacts/accuracy/<name>")
    parser.add_argument("--set", action="append", default=[], metavar="BINDING", help="a gin binding")
    parser.add_argument("--against", type=Path, metavar="RANKS", help="another model's ranks, to compare user by user")
    arguments = parser.parse_args()
    set_up_output()
    root = arguments.work_dir or Path("artifacts/accuracy") / Path(arguments.dataset).name
    root.mkdir(parents=True, exist_ok=True)
    orders = ORDERS if arguments.order == "both" else (arguments.order,)
    try:
        against = None if arguments.against is None else read_ranks(arguments.against)
        bindings = [*arguments.set]
        sasrec, bsarec = SasRecSettings(), BsaRecSettings()
        if arguments.epochs is not None:
            bindings += [f"{name}.epochs = {arguments.epochs}" for name in ("ShortTermSettings", "DecoderSettings")]
            sasrec = replace(sasrec, epochs=arguments.epochs)
            bsarec = replace(bsarec, epochs=arguments.epochs)
        rivals = Rivals(sasrec, bsarec, arguments.bsarec_seeds)
        with command_progress("accuracy"):
            run(arguments.dataset, orders, bindings, rivals, root, seeds=arguments.seeds, against=against)
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
