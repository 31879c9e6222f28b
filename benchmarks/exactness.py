"""Compares the search with scoring every item, on real histories and a trained bundle.

    python -m benchmarks.exactness --dataset ml-100k --bundle artifacts/ml-100k/bundles

Every user gives several histories, which end at different positions. Exhaustive scoring, the search on ONNX Runtime and
the search on PyTorch recommend for each of them, without the items of the history.
"""

import argparse
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from safetensors.torch import load_file

from rqrec.models.array_types import IntArray
from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.models.bundle.layout import RETRIEVER_WEIGHTS, SEARCH_GRAPH
from rqrec.models.retriever.config import RetrieverConfig
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.exhaustive import ExhaustiveScorer, ExhaustiveScores
from rqrec.models.search.onnx_engine import OnnxEngine
from rqrec.models.search.ranking import Ranking
from rqrec.models.search.recommender import Recommender
from rqrec.models.search.torch_engine import TorchEngine
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.data.sources import load_dataset
from rqrec.training.data.splits import user_sequences

K, BEAM_WIDTHS, HISTORIES = 10, (10, 20, 50, 100), 2_000
SHARES_OF_A_HISTORY = (0.3, 0.6, 1.0)
CPU = torch.device("cpu")


class Agreement(NamedTuple):
    """The agreement of a search with exhaustive scoring, for one beam width and over all histories.

    Attributes:
        beam_width: Beam width of the search.
        overlap: Mean share of the exhaustive top k that the search returns, in [0, 1].
        identical: Share of histories with the same list in both, except for ties within the tolerance.
        log_prob_error: Largest difference of a log-probability from the exhaustive one.
        score_error: Largest difference of a score from the exhaustive one.
        torch_error: Largest difference between the scores of both engines.
        torch_overlap: Mean share of items that both engines return.
        milliseconds: Median time of one search on ONNX Runtime, one history at a time.
    """

    beam_width: int
    overlap: float
    identical: float
    log_prob_error: float
    score_error: float
    torch_error: float
    torch_overlap: float
    milliseconds: float


TOLERANCE = 1e-4  # of log-probabilities and scores; the engines add float32 numbers in different orders


def measure(
    bundle: Bundle, histories: Sequence[IntArray], *, k: int, beam_widths: Sequence[int]
) -> tuple[list[Agreement], float]:
    """Compares the searches of a bundle with exhaustive scoring.

    Args:
        bundle: A published model.
        histories: Leaf positions, oldest first.
        k: Length of the compared lists.
        beam_widths: The beam widths to compare.

    Returns:
        One agreement for each beam width, and the median milliseconds of scoring one history exhaustively.
    """
    trie = SemanticIdTrie.build(bundle.learned.codes_RL, codebook_size=bundle.manifest.codebook_size)
    config = RetrieverConfig.from_fields(bundle.manifest.retriever)
    retriever = Retriever(config).eval()
    retriever.load_state_dict(load_file(bundle.path / RETRIEVER_WEIGHTS))
    item_vectors_ND = bundle.learned.vectors_RD[trie.row_of_leaf_N]
    nothing_N = np.zeros(trie.num_leaves, dtype=np.int64)
    onnx, reference = (
        Recommender(engine, trie, max_history=config.max_history, popularity_N=nothing_N)
        for engine in (
            OnnxEngine(bundle.path / SEARCH_GRAPH, trie, item_vectors_ND),
            TorchEngine(retriever, trie, torch.from_numpy(item_vectors_ND), device=CPU),
        )
    )
    scorer = ExhaustiveScorer(retriever, trie, torch.from_numpy(item_vectors_ND))
    exact, seconds = [], []
    for history in track(histories, description="scoring every item", transient=True):
        begin = time.perf_counter()
        scores = scorer.score(history[-config.max_history :])
        seconds.append(time.perf_counter() - begin)
        scores.scores_N[history] = -np.inf
        exact.append(scores)
    agreements = [
        _agreement(onnx, reference, histories, exact, k=k, beam_width=beam_width)
        for beam_width in track(beam_widths, description="searching", transient=True)
    ]
    return agreements, 1000 * float(np.median(seconds))


def _agreement(
    onnx: Recommender,
    reference: Recommender,
    histories: Sequence[IntArray],
    exact: Sequence[ExhaustiveScores],
    *,
    k: int,
    beam_width: int,
) -> Agreement:
    ours: list[Ranking] = []
    theirs: list[Ranking] = []
    seconds = []
    for history in histories:
        begin = time.perf_counter()
        ours += onnx.recommend([history], k=k, beam_width=beam_width, excluded=[history])
        seconds.append(time.perf_counter() - begin)
        theirs += reference.recommend([history], k=k, beam_width=beam_width, excluded=[history])
    best = [np.argsort(-one.scores_N, kind="stable")[:k] for one in exact]
    pairs = list(zip(ours, exact, strict=True))
    same = [
        np.allclose(mine.scores_K, one.scores_N[leaves], atol=TOLERANCE)
        for (mine, one), leaves in zip(pairs, best, strict=True)
    ]
    return Agreement(
        beam_width=beam_width,
        overlap=_mean_overlap(ours, best),
        identical=float(np.mean(same)),
        log_prob_error=_largest(mine.log_probs_K - one.log_probs_N[mine.leaves_K] for mine, one in pairs),
        score_error=_largest(mine.scores_K - one.scores_N[mine.leaves_K] for mine, one in pairs),
        torch_error=_largest(mine.scores_K - other.scores_K for mine, other in zip(ours, theirs, strict=True)),
        torch_overlap=_mean_overlap(ours, [other.leaves_K for other in theirs]),
        milliseconds=1000 * float(np.median(seconds)),
    )


def _largest(differences: Iterable[NDArray[np.float32]]) -> float:
    return float(max(np.abs(difference).max() for difference in differences))


def _mean_overlap(found: Sequence[Ranking], expected: Sequence[IntArray]) -> float:
    return float(np.mean([np.isin(b, a.leaves_K).mean() for a, b in zip(found, expected, strict=True)]))


def real_histories(
    dataset: str, bundle: Bundle, *, data_dir: Path, limit: int, shares: Sequence[float] = SHARES_OF_A_HISTORY
) -> list[IntArray]:
    """Returns histories of a data set's users as leaf positions of the bundle's trie.

    Args:
        dataset: The data set that the bundle was trained on.
        bundle: The bundle.
        data_dir: The folder of downloaded releases.
        limit: Largest number of histories.
        shares: Each user's sequence is cut after these shares of it, in (0, 1].

    Raises:
        ValueError: If the bundle was trained on another data set.
    """
    loaded = load_dataset(dataset, data_dir=data_dir)
    if loaded.fingerprint != bundle.manifest.data_fingerprint:
        raise ValueError(
            f"the bundle's data set {bundle.manifest.dataset!r} must have the content of {dataset!r}, but it differs: "
            "use the data set that the bundle was trained on"
        )
    trie = SemanticIdTrie.build(bundle.learned.codes_RL, codebook_size=bundle.manifest.codebook_size)
    sequences = user_sequences(loaded)
    leaf_of_item_N = trie.leaf_of_row_N
    histories = []
    for user in np.random.default_rng(0).permutation(len(sequences)):
        leaves = leaf_of_item_N[sequences[user]]
        histories += [leaves[: max(int(share * len(leaves)), 1)] for share in shares]
    return histories[:limit]


def main() -> None:
    """Measures, and prints the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="ml-100k", help="what the bundle was trained on")
    parser.add_argument("--bundle", type=Path, default=Path("artifacts/ml-100k/bundles"))
    parser.add_argument("--data-dir", type=Path, default=Path("artifacts/data"), help="where raw public data is kept")
    parser.add_argument("--histories", type=int, default=HISTORIES, help=f"how many (default {HISTORIES})")
    arguments = parser.parse_args()
    bundle = read_bundle(arguments.bundle)
    histories = real_histories(arguments.dataset, bundle, data_dir=arguments.data_dir, limit=arguments.histories)
    agreements, exhaustive_ms = measure(bundle, histories, k=K, beam_widths=BEAM_WIDTHS)
    title = (
        f"top {K} of {bundle.manifest.num_items} items, {len(histories)} histories; every item: {exhaustive_ms:.1f} ms"
    )
    table = Table(title=title, title_justify="left")
    columns = ("overlap", "same list", "log-prob error", "score error", "ONNX/torch overlap", "ONNX/torch error", "ms")
    for heading in ("beam", *columns):
        table.add_column(heading, justify="right")
    for one in agreements:
        table.add_row(
            str(one.beam_width),
            f"{one.overlap:.4f}",
            f"{one.identical:.4f}",
            f"{one.log_prob_error:.1e}",
            f"{one.score_error:.1e}",
            f"{one.torch_overlap:.4f}",
            f"{one.torch_error:.1e}",
            f"{one.milliseconds:.2f}",
        )
    Console(width=120).print(table)
    figures = {f"overlap_beam_{one.beam_width}": round(one.overlap, 4) for one in agreements}
    print(json.dumps({**figures, "exhaustive_ms": round(exhaustive_ms, 2)}))


if __name__ == "__main__":
    main()
