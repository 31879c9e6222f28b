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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.support.accuracy.rank_by_network import rank_by_network
from benchmarks.support.accuracy.sasrec import SasRec, SasRecSettings, load_sasrec, train_sasrec
from benchmarks.support.accuracy.transitions import rank_by_transitions
from benchmarks.support.accuracy.user_ranks import compare_ranks, describe_users, rank_table, read_ranks
from benchmarks.support.machine import description
from rqrec.models.errors import UserError
from rqrec.models.search.recommender import Recommender
from rqrec.training.data.dataset import DataError
from rqrec.training.data.prepare import load_prepared
from rqrec.training.data.sequence_files import read_day_gaps, read_sequence_files
from rqrec.training.data.splits import Holdout, leave_one_out, user_sequences
from rqrec.training.evaluation.baselines import (
    item_popularity,
    rank_by_content_knn,
    rank_by_item_knn,
    rank_by_popularity,
)
from rqrec.training.evaluation.metrics import bootstrap_interval, gains, hits, ranks_of_targets
from rqrec.training.evaluation.rank_holdout import rank_holdout
from rqrec.training.evaluation.report import EvaluationSettings, figures
from rqrec.training.features.features import load_features
from rqrec.training.run import Run, RunSettings
from rqrec.training.runtime.config import DEFAULT_CONFIG, read_settings
from rqrec.training.runtime.workspace import open_workspace
from rqrec.training.serving_recommender import load_recommender
from rqrec.training.tokenize_items import load_semantic_ids

RQREC, SASREC = "RQRec", "SASRec"
DIFFERENCE = f"{RQREC} - {SASREC}"
ORDERS = ("file", "shuffled")
INTERVAL_K = 10
CONSOLE = Console(width=160)

Intervals = dict[str, tuple[float, float]]
Ranker = Callable[[Holdout], NDArray[np.int64]]


@dataclass(frozen=True)
class Comparison:
    """The results for one order of the actions.

    Attributes:
        models: Figures by model, with the seconds of its training.
        intervals: 95 % bootstrap intervals over users, by model and figure. Those of "RQRec - SASRec" are of the
            difference on the same users.
        tokenizer: The figures of the semantic IDs.
        ranks: For SASRec and RQRec, the rank of each user's next item; see `benchmarks.support.accuracy.user_ranks`.
        users: What is known of each user; see `benchmarks.support.accuracy.user_ranks.describe_users`.
    """

    models: Mapping[str, Mapping[str, float]]
    intervals: Mapping[str, Intervals]
    tokenizer: Mapping[str, float]
    ranks: Mapping[str, pl.DataFrame]
    users: pl.DataFrame


def compare(trained: Run, sasrec: SasRecSettings) -> Comparison:
    """Trains the models that are not trained yet, and ranks the test items with every model.

    Args:
        trained: The run of the default recipe.
        sasrec: SASRec's sizes and its training.
    """
    settings = trained.settings.evaluation
    dataset = load_prepared(trained.data)
    split = leave_one_out(user_sequences(dataset))
    loaded = load_features(trained.features)
    features_NE = loaded.features_NE
    num_items, test, k = len(features_NE), split.test, settings.list_length
    popularity_N = item_popularity(split.train, num_items)
    recommender = load_recommender(trained.tokens, trained.decoder, loaded, popularity_N)
    bar = train_sasrec(trained.workspace, trained.data, sasrec)
    stages = (trained.features, trained.rqvae, trained.tokens, trained.decoder)
    seconds = {SASREC: bar.seconds, RQREC: sum(stage.seconds for stage in stages)}
    rankers = _rankers(recommender, settings, load_sasrec(bar, num_items, sasrec), sasrec.max_history)
    lists = {
        "popularity": rank_by_popularity(popularity_N, test, k=k),
        "item-kNN": rank_by_item_knn(split.train, num_items, test, k=k),
        "content-kNN": rank_by_content_knn(features_NE, test, k=k),
        "transitions": rank_by_transitions(split.train, features_NE, test, k=k),
        **{name: rank(test) for name, rank in rankers.items()},
    }
    models = {
        name: figures(lists_UK, test, features_NE, popularity_N == 0, settings)
        | {"training_seconds": seconds.get(name, 0.0)}
        for name, lists_UK in lists.items()
    }
    ranks = {name: ranks_of_targets(lists_UK, test.targets_U) for name, lists_UK in lists.items()}
    by_user = {
        name: rank_table(dataset, ranks_of_targets(rank(split.validation), split.validation.targets_U), ranks[name])
        for name, rank in rankers.items()
    }
    users = describe_users(dataset, Path(trained.settings.dataset.source))
    return Comparison(models, _intervals(ranks), load_semantic_ids(trained.tokens).figures, by_user, users)


def _rankers(
    recommender: Recommender, settings: EvaluationSettings, network: SasRec, max_history: int
) -> dict[str, Ranker]:
    """Returns a function for each trained model that lists items for the users of a holdout."""
    k = settings.list_length
    return {
        SASREC: lambda holdout: rank_by_network(network.score, holdout, k=k, max_history=max_history),
        RQREC: lambda holdout: rank_holdout(recommender, holdout, k=k, beam_width=settings.beam_width),
    }


def _intervals(ranks: Mapping[str, NDArray[np.float64]]) -> dict[str, Intervals]:
    per_user = {name: _per_user(ranks_U) for name, ranks_U in ranks.items()}
    per_user[DIFFERENCE] = {metric: values_U - per_user[SASREC][metric] for metric, values_U in per_user[RQREC].items()}
    return {
        name: {metric: bootstrap_interval(values_U) for metric, values_U in values.items()}
        for name, values in per_user.items()
    }


def _per_user(ranks_U: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    return {f"recall@{INTERVAL_K}": hits(ranks_U, k=INTERVAL_K), f"ndcg@{INTERVAL_K}": gains(ranks_U, k=INTERVAL_K)}


def shuffle_ties(source: Path, target: Path) -> Path | None:
    """Writes a folder of sequence files as tables whose times are days. So the actions of one day are ties.

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
        "user_id", "item_id", pl.col("day").alias("timestamp")
    ).collect().write_parquet(target / "interactions.parquet")
    items.write_parquet(target / "items.parquet")
    return target


def print_comparison(comparison: Comparison, title: str) -> None:
    """Prints the table of figures, and the intervals below it.

    Args:
        comparison: The results.
        title: The table's title.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in comparison.models:
        table.add_column(name, justify="right")
    for metric in dict.fromkeys(metric for row in comparison.models.values() for metric in row):
        row = []
        for name, figures_of in comparison.models.items():
            value = figures_of.get(metric)
            low_high = comparison.intervals[name].get(metric)
            text = "-" if value is None else f"{value:.0f}" if value > 1 else f"{value:.4f}"
            row.append(text if low_high is None else f"{text} ({low_high[0]:.4f}-{low_high[1]:.4f})")
        table.add_row(metric, *row)
    CONSOLE.print(table)
    for metric, (low, high) in comparison.intervals[DIFFERENCE].items():
        CONSOLE.print(f"{DIFFERENCE}, {metric}: 95 % interval {low:+.4f} to {high:+.4f}")
    CONSOLE.print(", ".join(f"{name} {value:.3f}" for name, value in comparison.tokenizer.items()))


def run(
    dataset: str,
    orders: Sequence[str],
    bindings: Sequence[str],
    epochs: int | None,
    root: Path,
    against: pl.DataFrame | None = None,
) -> None:
    """Compares the models for each order. Prints tables and one line of JSON, and writes results.json below the root.

    Args:
        dataset: A MovieLens release by name, or a folder.
        orders: Orders of actions with the same time: "file", "shuffled" or both.
        bindings: gin bindings.
        epochs: Passes over the data, of both models; None for the number of each recipe.
        root: The folder of workspaces and results.
        against: The ranks of another model on the same users, to compare RQRec with; None for no comparison.

    Raises:
        DataError: If `against` lacks users, or if only the shuffled order is wanted and the data set has no days.
    """
    sasrec = SasRecSettings() if epochs is None else replace(SasRecSettings(), epochs=epochs)
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
        more = [] if epochs is None else [f"DecoderSettings.epochs = {epochs}"]
        source = f"DatasetSettings.source = {sources[order]!r}"
        settings = read_settings(RunSettings, [DEFAULT_CONFIG], [*bindings, *more, source])
        with open_workspace(root / order, Path("artifacts/data")) as workspace:
            comparison = compare(Run(workspace, settings), sasrec)
        print_comparison(comparison, f"{Path(dataset).name}, order of equal times: {order}; {description()}")
        for name, ranks in comparison.ranks.items():
            ranks.write_csv(root / f"ranks_{order}_{name.lower()}.csv")
        if against is not None:
            CONSOLE.print(compare_ranks(comparison.ranks[RQREC], against, comparison.users))
        results[order] = {name: getattr(comparison, name) for name in ("models", "intervals", "tokenizer")}
        (root / "results.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    first = results[possible[0]]["models"]
    last = {"recall@10": first[RQREC]["recall@10"], "ndcg@10": first[RQREC]["ndcg@10"]}
    print(json.dumps({**last, "sasrec_recall@10": first[SASREC]["recall@10"]}))


def main() -> None:
    """Parses the command line and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="a MovieLens release by name, or a folder")
    parser.add_argument("--epochs", type=int, help="passes over the data, of both models (default: each recipe's)")
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
    root = arguments.work_dir or Path("artifacts/accuracy") / Path(arguments.dataset).name
    root.mkdir(parents=True, exist_ok=True)
    orders = ORDERS if arguments.order == "both" else (arguments.order,)
    try:
        against = None if arguments.against is None else read_ranks(arguments.against)
        run(arguments.dataset, orders, arguments.set, arguments.epochs, root, against)
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
