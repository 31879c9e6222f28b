"""How well items are recommended that training never saw, from their content alone.

    python -m benchmarks.cold_start --dataset /data/beauty

A share of the items is held out: every interaction with them is dropped before stage one. After training they are
tokenised from their features by the RQ-VAE, inserted into the trie, and take the vectors of their like; then
the recommender is asked about the users whose last item is one of them, beside nearest neighbours by content. Both rank
the whole catalogue, and once more the new items alone, which is what a place reserved for new items would show. Other
users, whose last item is none of them, say what the new items cost.
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
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.new_items import NewItems
from rqrec.models.search.recommender import Recommender
from rqrec.models.search.torch_engine import TorchEngine
from rqrec.models.trie.semantic_ids import append_collision_codes
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.data.dataset import Dataset
from rqrec.training.data.sources import load_dataset
from rqrec.training.data.splits import Holdout, Sequences, leave_one_out, user_sequences
from rqrec.training.decoder_settings import DecoderSettings
from rqrec.training.evaluation.baselines import item_popularity, rank_by_content_knn
from rqrec.training.evaluation.metrics import ndcg_at_k, ranks_of_targets, recall_at_k
from rqrec.training.evaluation.rank_holdout import rank_holdout
from rqrec.training.features.content import fit_content, with_new_items
from rqrec.training.features.features import Features, FeatureSettings, item_features
from rqrec.training.run import RunSettings
from rqrec.training.runtime.config import DEFAULT_CONFIG, read_settings
from rqrec.training.runtime.workspace import Workspace, open_workspace, stage_key
from rqrec.training.serving_recommender import item_vectors
from rqrec.training.train_decoder import fit_retriever
from rqrec.training.train_rqvae import RqVaeSettings, fit_rqvae, rqvae_config

DATA_DIR = Path("artifacts/data")
HELD_OUT_SHARE, SEED = 0.05, 0
KS, LIST_LENGTH = (5, 10, 20), 20
RESERVED, OTHER_USERS = 2, 4000


@dataclass(frozen=True)
class _ColdStart:
    fingerprint: str
    features: FeatureSettings
    rqvae: RqVaeSettings
    decoder: DecoderSettings


@dataclass(frozen=True)
class ColdData:
    """A data set cut in two.

    Attributes:
        dataset: All items, those held out last; only the interactions with the others.
        num_warm: Items that are not held out.
        questions: The users whose last item is held out, with what they had before of the others.
    """

    dataset: Dataset
    num_warm: int
    questions: Holdout


def hold_out(dataset: Dataset, share: float, *, seed: int) -> ColdData:
    """Holds a random share of the items out."""
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
    questions = Holdout(Sequences(items_I[keep_I], offsets_U), items_I[last_I[asked_U]])
    numbered = interactions.with_columns(pl.col("user_index").rank("dense").cast(pl.Int32) - 1)
    return ColdData(
        Dataset(dataset.name, dataset.items[order_N], numbered, f"{dataset.fingerprint}-{share}-{seed}"),
        num_warm,
        questions,
    )


def measure(data: ColdData, workspace: Workspace, settings: RunSettings) -> dict[str, dict[str, float]]:
    """Trains without the held-out items, adds them, and asks.

    Args:
        data: Known items and new ones.
        workspace: Keeps the checkpoints.
        settings: Of features, RQ-VAE and retriever; those of the data set are not read.

    Returns:
        Figures by model.
    """
    num_warm, device = data.num_warm, torch.device("cpu")
    rqvae_settings, decoder_settings = settings.rqvae, settings.decoder
    features = item_features(data.dataset, settings.features)
    features_NE = features.features_NE
    key = stage_key([], _ColdStart(data.dataset.fingerprint, settings.features, rqvae_settings, decoder_settings))
    checkpoints, tensorboard = workspace.checkpoints("cold-start", key), workspace.tensorboard
    warm_features, config = torch.from_numpy(features_NE[:num_warm]), rqvae_config(rqvae_settings, features.blocks)
    rqvae = fit_rqvae(config, warm_features, rqvae_settings, checkpoints / "rqvae", tensorboard)
    with torch.no_grad():
        quantised_NL = rqvae.get_codebook_indices(torch.from_numpy(features_NE)).numpy()
    # Collision codes count in row order, so those of the items that training knew stay as they were.
    codes_NL = append_collision_codes(quantised_NL, codebook_size=rqvae_settings.codebook_size)
    trie = SemanticIdTrie.build(codes_NL[:num_warm], codebook_size=rqvae_settings.codebook_size)
    split = leave_one_out(user_sequences(data.dataset))
    retriever = fit_retriever(
        trie, features_NE[:num_warm], split, decoder_settings, checkpoints / "decoder", tensorboard
    )
    popularity_N = np.append(item_popularity(split.train, num_warm), np.zeros(len(codes_NL) - num_warm, dtype=np.int64))
    warm = Features(features_NE[:num_warm], features.featurizer)
    projection_EP = fit_content(warm)
    known_ND = item_vectors(retriever, trie, warm, projection_EP, popularity_N[:num_warm])
    new_rows = np.arange(num_warm, len(codes_NL))
    whole = trie.with_changes(inserted_ML=codes_NL[num_warm:], inserted_rows_M=new_rows)
    unknown_ND = np.zeros((len(new_rows), known_ND.shape[1]), dtype=np.float32)
    vectors_ND = with_new_items(np.concatenate([known_ND, unknown_ND]), features, projection_EP, popularity_N)
    vectors_ND, popularity_N = vectors_ND[whole.row_of_leaf_N], popularity_N[whole.row_of_leaf_N]
    weight = decoder_settings.relevance_weight
    recommender = Recommender(
        TorchEngine(retriever, whole, torch.from_numpy(vectors_ND), device=device),
        whole,
        max_history=decoder_settings.max_history,
        popularity_N=popularity_N,
        new_items=NewItems.from_mask(popularity_N == 0, vectors_ND, relevance_weight=weight),
    )
    is_new_N = np.arange(len(codes_NL)) >= num_warm
    beam, questions = decoder_settings.beam_width, data.questions
    only_new = Eligibility.from_mask(whole, is_new_N[whole.row_of_leaf_N])
    lists = {
        "RQRec": rank_holdout(recommender, questions, k=LIST_LENGTH, beam_width=beam),
        f"RQRec, {RESERVED} of {LIST_LENGTH} places reserved": rank_holdout(
            recommender, questions, k=LIST_LENGTH, beam_width=beam, reserved=RESERVED
        ),
        "content-kNN": rank_by_content_knn(features_NE, questions, k=LIST_LENGTH),
        "RQRec, new items only": rank_holdout(
            recommender, questions, k=LIST_LENGTH, beam_width=beam, eligibility=only_new
        ),
        "content-kNN, new items only": rank_by_content_knn(features_NE, questions, k=LIST_LENGTH, eligible_N=is_new_N),
    }
    found = {name: _figures(lists_UK, questions.targets_U) for name, lists_UK in lists.items()}
    others = split.test.sample(OTHER_USERS, seed=SEED)
    only_known = Eligibility.from_mask(whole, ~is_new_N[whole.row_of_leaf_N])
    for name, eligibility in (("RQRec, other users", None), ("RQRec, other users, no new items", only_known)):
        lists_UK = rank_holdout(recommender, others, k=LIST_LENGTH, beam_width=beam, eligibility=eligibility)
        found[name] = _figures(lists_UK, others.targets_U)
    return found


def _figures(lists_UK: NDArray[np.int64], targets_U: NDArray[np.int32]) -> dict[str, float]:
    ranks_U = ranks_of_targets(lists_UK, targets_U)
    return {f"recall@{k}": recall_at_k(ranks_U, k=k) for k in KS} | {"ndcg@10": ndcg_at_k(ranks_U, k=10)}


def main() -> None:
    """Measures, prints the table and the line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="a MovieLens release by name, or a folder")
    parser.add_argument("--work-dir", type=Path, help="default artifacts/cold-start/<name>")
    parser.add_argument("--set", action="append", default=[], metavar="BINDING", help="a gin binding")
    arguments = parser.parse_args()
    settings = read_settings(RunSettings, [DEFAULT_CONFIG], arguments.set)
    dataset = load_dataset(arguments.dataset, data_dir=DATA_DIR)
    data = hold_out(dataset, HELD_OUT_SHARE, seed=SEED)
    root = arguments.work_dir or Path("artifacts/cold-start") / dataset.name
    with open_workspace(root, DATA_DIR) as workspace:
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
