"""Measures how well items without any interaction are recommended, from their content alone.

    python -m benchmarks.cold_start --dataset /data/beauty

A share of the items is held out: every interaction with them is removed before stage one. After training, the RQ-VAE
turns their features into semantic IDs, they are inserted into the trie, and they take the vectors of similar items.
Then the users whose last item is held out get recommendations, from the recommender and from nearest neighbours by
content. Both rank the whole catalogue, and a second time the new items only, as reserved positions do. The results of
the other users show what the new items cost.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.support.machine import description
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.new.new_items import NewItems
from rqrec.models.search.recommender import Recommender
from rqrec.models.search.torch_engine import TorchEngine
from rqrec.models.trie.semantic_ids import append_collision_codes
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.data.dataset import Dataset
from rqrec.training.data.sources import load_dataset
from rqrec.training.data.splits import Holdout, Sequences, Split, user_sequences
from rqrec.training.data.splitting.leave_one_out import leave_one_out
from rqrec.training.evaluation.baselines import item_popularity, rank_by_content_knn
from rqrec.training.evaluation.metrics import ndcg_at_k, ranks_of_targets, recall_at_k
from rqrec.training.evaluation.rank_holdout import rank_holdout
from rqrec.training.features.content import fit_content, with_new_items
from rqrec.training.features.features import Features, FeatureSettings, item_features
from rqrec.training.retriever.decoder_settings import DecoderSettings
from rqrec.training.retriever.short_term_settings import ShortTermSettings
from rqrec.training.run import RunSettings
from rqrec.training.runtime.config import DEFAULT_CONFIG, read_settings
from rqrec.training.runtime.progress import command_progress, set_up_output
from rqrec.training.runtime.workspace import Workspace, open_workspace, stage_key
from rqrec.training.serving_recommender import item_vectors
from rqrec.training.train_decoder import fit_retriever
from rqrec.training.train_rqvae import RqVaeSettings, fit_rqvae, rqvae_config
from rqrec.training.train_short_term import fit_short_term

DATA_DIR = Path("artifacts/data")
HELD_OUT_SHARE, SEED = 0.05, 0
KS, LIST_LENGTH = (5, 10, 20), 20
RESERVED, OTHER_USERS = 2, 4000


@dataclass(frozen=True)
class _ColdStart:
    """The key of the checkpoints."""

    fingerprint: str
    features: FeatureSettings
    rqvae: RqVaeSettings
    short_term: ShortTermSettings
    decoder: DecoderSettings


@dataclass(frozen=True)
class ColdData:
    """A data set whose new items have no interactions.

    Attributes:
        dataset: All items, the held-out ones last, and the interactions with the other items.
        num_warm: Number of items that are not held out.
        questions: The users whose last item is held out, with their earlier items that are not.
    """

    dataset: Dataset
    num_warm: int
    questions: Holdout


def hold_out(dataset: Dataset, share: float, *, seed: int) -> ColdData:
    """Holds out a random share of the items.

    Args:
        dataset: The whole data set.
        share: Share of items to hold out, in (0, 1).
        seed: Seed of the choice.
    """
    count = len(dataset.items)
    order_N = np.random.default_rng(seed).permutation(count)
    num_warm = count - max(int(share * count), 1)
    order_N = np.concatenate([np.sort(order_N[:num_warm]), order_N[num_warm:]])
    new_index_N = np.empty(count, dtype=np.int32)
    new_index_N[order_N] = np.arange(count)
    sequences = user_sequences(dataset)
    items_I = new_index_N[sequences.items_I]
    is_warm_I = items_I < num_warm
    interactions = dataset.interactions.with_columns(pl.Series("item_index", items_I)).filter(pl.Series(is_warm_I))
    last_I = sequences.offsets_U[1:] - 1
    warm_before_U = np.add.reduceat(is_warm_I, sequences.offsets_U[:-1])
    asked_U = ~is_warm_I[last_I] & (warm_before_U > 0)
    keep_I = is_warm_I & np.repeat(asked_U, sequences.lengths_U)
    offsets_U = np.concatenate([[0], np.cumsum(warm_before_U[asked_U])])
    questions = Holdout(Sequences.from_arrays(items_I[keep_I], offsets_U), items_I[last_I[asked_U]])
    numbered = interactions.with_columns(pl.col("user_index").rank("dense").cast(pl.Int32) - 1)
    return ColdData(
        Dataset(dataset.name, dataset.items[order_N], numbered, f"{dataset.fingerprint}-{share}-{seed}"),
        num_warm,
        questions,
    )


def measure(data: ColdData, workspace: Workspace, settings: RunSettings) -> dict[str, dict[str, float]]:
    """Trains without the held-out items, adds them as new items, and measures all recommenders.

    Args:
        data: The data set without the interactions of its new items.
        workspace: The folder of the checkpoints.
        settings: Settings of features, RQ-VAE, short-term encoder and retriever; those of the data set are not used.

    Returns:
        Figures by recommender.
    """
    trained = _train(data, workspace, settings)
    recommender = _recommender_with_new_items(trained, data.num_warm, settings.decoder)
    features_NE, trie = trained.features.features_NE, recommender.trie
    is_new_N = np.arange(len(features_NE)) >= data.num_warm
    only_new = Eligibility.from_mask(trie, is_new_N[trie.row_of_leaf_N])
    only_known = Eligibility.from_mask(trie, ~is_new_N[trie.row_of_leaf_N])
    questions, others = data.questions, trained.split.test.sample(OTHER_USERS, seed=SEED)

    def rank(holdout: Holdout, eligibility: Eligibility | None = None, reserved: int = 0) -> dict[str, float]:
        beam_width = settings.decoder.beam_width
        lists_UK = rank_holdout(
            recommender, holdout, k=LIST_LENGTH, beam_width=beam_width, eligibility=eligibility, reserved=reserved
        )
        return _figures(lists_UK, holdout.targets_U)

    def rank_by_content(eligible_N: NDArray[np.bool_] | None = None) -> dict[str, float]:
        lists_UK = rank_by_content_knn(features_NE, questions, k=LIST_LENGTH, eligible_N=eligible_N)
        return _figures(lists_UK, questions.targets_U)

    return {
        "RQRec": rank(questions),
        f"RQRec, {RESERVED} of {LIST_LENGTH} places reserved": rank(questions, reserved=RESERVED),
        "content-kNN": rank_by_content(),
        "RQRec, new items only": rank(questions, only_new),
        "content-kNN, new items only": rank_by_content(is_new_N),
        "RQRec, other users": rank(others),
        "RQRec, other users, no new items": rank(others, only_known),
    }


@dataclass(frozen=True)
class _Trained:
    """Models trained on the known items, and the codes of all items."""

    features: Features
    codes_NL: NDArray[np.int64]
    trie: SemanticIdTrie
    retriever: Retriever
    split: Split


def _train(data: ColdData, workspace: Workspace, settings: RunSettings) -> _Trained:
    num_warm, tensorboard = data.num_warm, workspace.tensorboard
    features = item_features(data.dataset, settings.features)
    features_NE = features.features_NE
    parts = (settings.features, settings.rqvae, settings.short_term, settings.decoder)
    key = stage_key([], _ColdStart(data.dataset.fingerprint, *parts))
    checkpoints = workspace.checkpoints("cold-start", key)
    warm_features = torch.from_numpy(features_NE[:num_warm])
    config = rqvae_config(settings.rqvae, features.blocks, num_distinct=num_warm)
    rqvae = fit_rqvae(config, warm_features, settings.rqvae, checkpoints / "rqvae", tensorboard)
    with torch.no_grad():
        quantised_NL = rqvae.get_codebook_indices(torch.from_numpy(features_NE)).numpy()
    # Collision codes count in the order of the rows, so the new items, which are last, change no known item's code.
    codes_NL = append_collision_codes(quantised_NL, codebook_size=config.codebook_size)
    trie = SemanticIdTrie.build(codes_NL[:num_warm], codebook_size=config.codebook_size)
    split = leave_one_out(user_sequences(data.dataset))
    short_term = None
    if settings.short_term.width:
        places = (checkpoints / "short_term", tensorboard)
        max_history = settings.decoder.max_history
        short_term = fit_short_term(split, num_warm, settings.short_term, *places, max_history=max_history)
    places = (checkpoints / "decoder", tensorboard)
    retriever = fit_retriever(trie, features_NE[:num_warm], split, settings.decoder, *places, short_term=short_term)
    return _Trained(features, codes_NL, trie, retriever, split)


def _recommender_with_new_items(trained: _Trained, num_warm: int, settings: DecoderSettings) -> Recommender:
    features, retriever = trained.features, trained.retriever
    new_rows = np.arange(num_warm, len(trained.codes_NL))
    known_popularity_N = item_popularity(trained.split.train, num_warm)
    popularity_N = np.append(known_popularity_N, np.zeros(len(new_rows), dtype=np.int64))
    warm = Features(features.features_NE[:num_warm], features.featurizer)
    projection_EP = fit_content(warm)
    known_ND = item_vectors(retriever, trained.trie, warm, projection_EP, known_popularity_N)
    trie = trained.trie.with_changes(inserted_ML=trained.codes_NL[num_warm:], inserted_rows_M=new_rows)
    unknown_ND = np.zeros((len(new_rows), known_ND.shape[1]), dtype=np.float32)
    vectors_ND = with_new_items(
        np.concatenate([known_ND, unknown_ND]),
        features,
        projection_EP,
        popularity_N,
        part_widths=retriever.config.part_widths,
    )
    vectors_ND, popularity_N = vectors_ND[trie.row_of_leaf_N], popularity_N[trie.row_of_leaf_N]
    return Recommender(
        TorchEngine(retriever, trie, torch.from_numpy(vectors_ND), device=torch.device("cpu")),
        trie,
        max_history=settings.max_history,
        popularity_N=popularity_N,
        new_items=NewItems.from_mask(popularity_N == 0, vectors_ND, relevance_weight=settings.relevance_weight),
    )


def _figures(lists_UK: NDArray[np.int64], targets_U: NDArray[np.int32]) -> dict[str, float]:
    ranks_U = ranks_of_targets(lists_UK, targets_U)
    return {f"recall@{k}": recall_at_k(ranks_U, k=k) for k in KS} | {"ndcg@10": ndcg_at_k(ranks_U, k=10)}


def main() -> None:
    """Measures, and prints the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="a MovieLens release by name, or a folder")
    parser.add_argument("--work-dir", type=Path, help="default artifacts/cold-start/<name>")
    parser.add_argument("--set", action="append", default=[], metavar="BINDING", help="a gin binding")
    arguments = parser.parse_args()
    set_up_output()
    settings = read_settings(RunSettings, [DEFAULT_CONFIG], arguments.set)
    dataset = load_dataset(arguments.dataset, data_dir=DATA_DIR)
    data = hold_out(dataset, HELD_OUT_SHARE, seed=SEED)
    root = arguments.work_dir or Path("artifacts/cold-start") / dataset.name
    with command_progress("cold start"), open_workspace(root, DATA_DIR) as workspace:
        found = measure(data, workspace, settings)
    new = len(dataset.items) - data.num_warm
    title = f"{dataset.name}: {new} of {len(dataset.items)} items are new, {len(data.questions)} users; {description()}"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for metric in next(iter(found.values())):
        table.add_column(metric, justify="right")
    for name, row in found.items():
        table.add_row(name, *(f"{value:.4f}" for value in row.values()))
    Console(width=120).print(table)
    print(json.dumps({name: round(row["recall@10"], 4) for name, row in found.items()}))


if __name__ == "__main__":
    main()
