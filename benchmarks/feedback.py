"""Measures whether ratings and event types help: weights in the loss, dislikes that are no targets, types in histories.

    python -m benchmarks.feedback --dataset ml-100k --seeds 0 1 2

All variants have the same semantic IDs, the same training interactions and the same questions: after a user's history,
is the next item among the first ten? The questions include dislikes. They are counted for all users, for those whose
next item is no dislike, and for those whose next item is a dislike (where less is better). All variants keep the
weights that are best for validation items that are no dislikes.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from benchmarks.support.machine import description
from rqrec.models.errors import UserError
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.data.dataset import Dataset
from rqrec.training.data.prepare import load_prepared
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.data.sources import load_dataset
from rqrec.training.data.splits import Holdout, Sequences, Split, user_sequences
from rqrec.training.data.splitting.leave_one_out import leave_one_out
from rqrec.training.evaluation.baselines import item_popularity
from rqrec.training.evaluation.metrics import bootstrap_interval, gains, hits, ranks_of_targets
from rqrec.training.evaluation.rank_holdout import rank_holdout
from rqrec.training.features.content import fit_content
from rqrec.training.features.features import Features, load_features
from rqrec.training.run import Run, RunSettings
from rqrec.training.runtime.config import DEFAULT_CONFIG, read_settings
from rqrec.training.runtime.progress import command_progress, set_up_output
from rqrec.training.runtime.workspace import open_workspace
from rqrec.training.serving_recommender import item_vectors, make_recommender
from rqrec.training.tokenize_items import load_semantic_ids
from rqrec.training.train_decoder import fit_retriever

NONE, WEIGHTS, DISLIKES, TYPES, BOTH = VARIANTS = ("none", "weights", "dislikes", "types", "dislikes and types")
RATING_WEIGHT = 0.8  # of the variant "weights": one star counts a fifth of five stars
K = 10


@dataclass(frozen=True)
class Told:
    """A data set with what its interactions say.

    Attributes:
        sequences: The users' items with event types, and 0 as the weight of dislikes.
        weights_I: The weights of the variant "weights".
        num_types: The number of event types.
    """

    sequences: Sequences
    weights_I: NDArray[np.float32] | None
    num_types: int

    def variant(self, name: str) -> Sequences:
        """Returns the sequences as one variant sees them."""
        weights = {WEIGHTS: self.weights_I, DISLIKES: self.sequences.weights_I, BOTH: self.sequences.weights_I}
        types_I = self.sequences.types_I if name in (TYPES, BOTH) else None
        return self.sequences.with_arrays(weights_I=weights.get(name), types_I=types_I)


def read_told(dataset: Dataset, settings: DatasetSettings, data_dir: Path) -> Told:
    """Makes the variants' data.

    Args:
        dataset: The data set, read with its ratings and event types.
        settings: How it was read.
        data_dir: The folder of downloaded releases.
    """
    weighted = replace(settings, rating_weight=RATING_WEIGHT, disliked_below=float(np.finfo(np.float32).min))
    weights_I = user_sequences(load_dataset(settings.source, data_dir=data_dir, settings=weighted)).weights_I
    return Told(user_sequences(dataset), weights_I, len(dataset.event_types))


def rank_variant(
    told: Told, name: str, run: Run, features: Features, trie: SemanticIdTrie, seed: int
) -> dict[str, NDArray[np.float64]]:
    """Trains one variant, and returns the rank of each user's validation and test item.

    Args:
        told: The data of all variants.
        name: The variant.
        run: The run that made the semantic IDs.
        features: The items' features.
        trie: The trie of the semantic IDs.
        seed: Seed of the training.
    """
    # The split is that of all interactions, dislikes included, so that every variant has the same one.
    sequences = told.variant(name)
    split = leave_one_out(sequences.with_arrays(weights_I=None))
    if sequences.weights_I is not None:
        weights_I = sequences.weights_I[positions(told).train.items_I]
        split = replace(split, train=split.train.with_arrays(weights_I=weights_I))
    num_items = len(features.features_NE)
    with TemporaryDirectory(prefix="rqrec-") as scratch:
        retriever = fit_retriever(
            trie,
            features.features_NE,
            replace(split, validation=without_dislikes(split.validation, is_wanted(told)[0])),
            replace(run.settings.decoder, seed=seed),
            Path(scratch) / "checkpoints",
            Path(scratch) / "tensorboard",
            num_event_types=told.num_types if sequences.types_I is not None else 0,
        )
    popularity_N = item_popularity(split.train.with_arrays(weights_I=None), num_items)
    vectors_ND = item_vectors(retriever, trie, features, fit_content(features), popularity_N)
    recommender = make_recommender(retriever, trie, vectors_ND, popularity_N)
    questions = {"validation": split.validation, "test": split.test}
    if sequences.types_I is not None:
        histories = split.test.histories.with_arrays(types_I=None)
        questions["test, types unknown"] = replace(split.test, histories=histories)
    beam_width, k = run.settings.evaluation.beam_width, run.settings.evaluation.list_length
    return {
        part: ranks_of_targets(rank_holdout(recommender, asked, k=k, beam_width=beam_width), asked.targets_U)
        for part, asked in questions.items()
    }


def positions(told: Told) -> Split:
    """Returns the split of all interactions, with each interaction's position in place of its item."""
    count = len(told.sequences.items_I)
    return leave_one_out(Sequences.from_arrays(np.arange(count, dtype=np.int32), told.sequences.offsets_U))


def is_wanted(told: Told) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns whether each user's validation and test item is no dislike."""
    split, is_wanted_I = positions(told), told.sequences.is_wanted_I
    return is_wanted_I[split.validation.targets_U], is_wanted_I[split.test.targets_U]


def without_dislikes(holdout: Holdout, wanted_U: NDArray[np.bool_]) -> Holdout:
    """Returns the questions whose answer is no dislike.

    Args:
        holdout: All questions.
        wanted_U: Whether each answer is no dislike.
    """
    return Holdout(holdout.histories.select(wanted_U), holdout.targets_U[wanted_U])


def summarise(
    ranks: Mapping[str, Sequence[Mapping[str, NDArray[np.float64]]]], wanted: Mapping[str, NDArray[np.bool_]]
) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Returns figures by question and variant, with the interval of the difference to "none" on the same users.

    Args:
        ranks: The ranks of every seed, by variant.
        wanted: Whether each user's item is no dislike, by "validation" and "test".
    """
    results: dict[str, dict[str, dict[str, list[float]]]] = {}
    for name, runs in ranks.items():
        for part in runs[0]:
            wanted_U = wanted[part.partition(",")[0]]
            for group, users_U in (("all", wanted_U | True), ("wanted", wanted_U), ("disliked", ~wanted_U)):
                figures: dict[str, list[float]] = {}
                for metric, score in ((f"recall@{K}", hits), (f"ndcg@{K}", gains)):
                    values_U = np.mean([score(one[part][users_U], k=K) for one in runs], axis=0)
                    base = [one[part.partition(",")[0]][users_U] for one in ranks[NONE]]
                    difference_U = values_U - np.mean([score(ranks_U, k=K) for ranks_U in base], axis=0)
                    figures[metric] = [float(values_U.mean()), *bootstrap_interval(difference_U)]
                results.setdefault(f"{part}: {group}, {users_U.sum()} users", {})[name] = figures
    return results


def measure(dataset: str, variants: Sequence[str], seeds: Sequence[int], bindings: Sequence[str], root: Path) -> None:
    """Trains the variants, prints a table, and writes results.json after each of them.

    Args:
        dataset: A MovieLens release by name, or a folder.
        variants: Names of variants, "none" among them.
        seeds: Seeds of the training.
        bindings: gin bindings.
        root: The folder of workspaces and results.
    """
    settings = read_settings(RunSettings, [DEFAULT_CONFIG], [*bindings, f"DatasetSettings.source = {dataset!r}"])
    data_dir = Path("artifacts/data")
    with open_workspace(root / "work", data_dir) as workspace:
        run = Run(workspace, settings)
        features, ids = load_features(run.features), load_semantic_ids(run.tokens)
        told = read_told(load_prepared(run.data), settings.dataset, data_dir)
    trie = SemanticIdTrie.build(ids.codes_NL, codebook_size=ids.codebook_size)
    wanted = dict(zip(("validation", "test"), is_wanted(told), strict=True))
    ranks: dict[str, list[dict[str, NDArray[np.float64]]]] = {}
    for seed in seeds:
        for name in variants:
            ranks.setdefault(name, []).append(rank_variant(told, name, run, features, trie, seed))
            results = summarise({one: found[: len(found)] for one, found in ranks.items()}, wanted)
            (root / "results.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    print(f"{dataset}, seeds {list(seeds)}; {description()}")
    for question, rows in results.items():
        for name, figures in rows.items():
            shown = (
                f"{metric} {mean:.4f} ({low:+.4f} to {high:+.4f})" for metric, (mean, low, high) in figures.items()
            )
            print(f"{question:40} {name:20} {'  '.join(shown)}")


def main() -> None:
    """Parses the command line and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="ml-100k", help="a MovieLens release by name, or a folder")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--work-dir", type=Path, default=Path("artifacts/feedback"))
    parser.add_argument("--set", action="append", default=[], metavar="BINDING", help="a gin binding")
    arguments = parser.parse_args()
    set_up_output()
    arguments.work_dir.mkdir(parents=True, exist_ok=True)
    variants = [NONE, *(name for name in arguments.variants if name != NONE)]
    try:
        with command_progress("feedback"):
            measure(arguments.dataset, variants, arguments.seeds, arguments.set, arguments.work_dir)
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
