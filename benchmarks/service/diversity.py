"""Measures what diversity costs in accuracy and gains in difference, on the held-out test items of a training.

    python -m benchmarks.service.diversity --work-dir artifacts/ml-100k --plot docs/diversity.svg

The model is the evaluated one, which has not seen the held-out items. Lists are made as the service makes them: of the
4k best items of a search. The last line printed is JSON.

Shapes: U users, N items, C candidates, K items of a list, D width.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from rqrec.models.array_types import FloatArray, IntArray
from rqrec.models.search.control.list_draft import POOL, Candidates, ListDraft, Pins
from rqrec.models.search.ranking import Ranking
from rqrec.models.vector_index import unit_rows
from rqrec.training.data.prepare import load_repeats, load_split
from rqrec.training.evaluation.baselines import item_popularity
from rqrec.training.evaluation.metrics import gains, ranks_of_targets
from rqrec.training.features.content import fit_content
from rqrec.training.features.features import load_features
from rqrec.training.runtime.workspace import Stage
from rqrec.training.serving_recommender import item_vectors, load_recommender
from rqrec.training.train_decoder import load_retriever

K, BEAM_WIDTH = 10, 50
DIVERSITIES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)


def list_of(ranking: Ranking, units_ND: FloatArray, diversity: float) -> IntArray:
    """Chooses the K items of a list from candidates.

    Args:
        ranking: The candidates by leaf, best first.
        units_ND: The vector of the item of each leaf, at unit length.
        diversity: How much it counts that items differ, in [0, 1].
    """
    nothing = np.empty(0, dtype=np.int64)
    draft = ListDraft(K, Pins(nothing, nothing, [], units_ND[nothing]), limits={}, diversity=diversity)
    draft.add(Candidates(ranking, [()] * len(ranking.leaves_K), units_ND[ranking.leaves_K]))
    return draft.finished().ranking.leaves_K


def measure(work_dir: Path, diversities: Sequence[float]) -> list[dict[str, float]]:
    """Returns, for each diversity, NDCG@10 and the mean difference of two items of a list (1 - cosine).

    Args:
        work_dir: The workspace of a finished training.
        diversities: The diversities to measure.
    """
    data, features, tokens, decoder = (
        Stage(work_dir / name, "") for name in ("data", "features", "semantic_ids", "decoder")
    )
    split, loaded = load_split(data), load_features(features)
    popularity_N = item_popularity(split.train, len(loaded.features_NE))
    recommender = load_recommender(tokens, decoder, loaded, popularity_N)
    trie = recommender.trie
    retriever = load_retriever(decoder)
    vectors_NW = item_vectors(retriever, trie, loaded, fit_content(loaded), popularity_N)
    units_ND = unit_rows(vectors_NW[trie.row_of_leaf_N, : retriever.config.compared_width])
    histories = [trie.leaf_of_row_N[split.test.histories[user]] for user in range(len(split.test))]
    excluded = histories if load_repeats(data).exclude_history else None
    found = [
        ranking
        for begin in range(0, len(histories), 64)
        for ranking in recommender.recommend(
            histories[begin : begin + 64],
            k=POOL * K,
            beam_width=BEAM_WIDTH,
            excluded=None if excluded is None else excluded[begin : begin + 64],
        )
    ]
    targets_U = trie.leaf_of_row_N[split.test.targets_U]
    rows = []
    for diversity in diversities:
        lists_UK = np.stack([list_of(ranking, units_ND, diversity) for ranking in found])
        similarity_UKK = np.einsum("ukd,uld->ukl", units_ND[lists_UK], units_ND[lists_UK])
        pairs = np.triu_indices(K, 1)
        rows.append(
            {
                "diversity": diversity,
                "ndcg@10": float(gains(ranks_of_targets(lists_UK, targets_U), k=K).mean()),
                "difference": float(1 - similarity_UKK[:, pairs[0], pairs[1]].mean()),
            }
        )
    return rows


def plot(rows: Sequence[dict[str, float]], file: Path) -> None:
    """Draws NDCG@10 against the difference of items, one point for each diversity.

    Args:
        rows: The result of `measure`.
        file: The SVG file to write.
    """
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([row["difference"] for row in rows], [row["ndcg@10"] for row in rows], marker="o", color="black")
    for row in rows:
        axes.annotate(
            f"{row['diversity']:g}", (row["difference"], row["ndcg@10"]), xytext=(4, 4), textcoords="offset points"
        )
    axes.set(xlabel="mean difference of two items of a list (1 - cosine)", ylabel="NDCG@10", ylim=(0, None))
    with rc_context({"svg.fonttype": "none"}):
        figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Measures, draws if asked, and prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work-dir", type=Path, required=True, help="the workspace of a finished training")
    parser.add_argument("--plot", type=Path, help="the SVG file to write")
    arguments = parser.parse_args()
    rows = measure(arguments.work_dir, DIVERSITIES)
    if arguments.plot is not None:
        plot(rows, arguments.plot)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
