"""Measures the speed of the search, next to transformers.generate and to the machine's speed of matrix products.

    python -m benchmarks.search

Speed does not depend on trained weights, so the weights are random. Our model has the size of the default
configuration, and the peer has the size in the TIGER paper. The catalogue has the size of Amazon Beauty's, and its IDs
are as skewed as the real ones. Histories have 20 items. Both models return items of the catalogue only.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.support.machine import GEMM_FLOPS, description, gemm, median_seconds
from benchmarks.support.peer.search import TransformersPeer
from benchmarks.support.synthetic import CODEBOOK_SIZE, synthetic_codes
from rqrec.models.array_types import IntArray
from rqrec.models.onnx_session import open_session
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.exporting.export import export_search
from rqrec.models.search.onnx_engine import OnnxEngine, catalogue_inputs, request_inputs
from rqrec.models.search.ranking import SearchOutput
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.retriever.decoder_settings import retriever_config
from rqrec.training.retriever.short_term_settings import short_term_config
from rqrec.training.run import RunSettings
from rqrec.training.runtime.config import DEFAULT_CONFIG, read_settings

NUM_ITEMS, HISTORY, K = 12_101, 20, 10
BEAM_WIDTHS, BATCHES = (20, 50), (1, 16, 64)
MATRIX_PRODUCTS = ("MatMul", "FusedMatMul", "Gemm", "FusedGemm")
WEIGHT_STD = 0.1


class DefaultModel:
    """A model of the default configuration's size with random weights, exported.

    Args:
        trie: Any trie with the wanted number of levels and codes.
        folder: The folder of the graphs.
    """

    def __init__(self, trie: SemanticIdTrie, folder: Path) -> None:
        settings = read_settings(RunSettings, [DEFAULT_CONFIG])
        torch.manual_seed(0)
        short_term = short_term_config(
            settings.short_term, num_items=trie.num_leaves, max_history=settings.decoder.max_history
        )
        self.config = retriever_config(settings.decoder, trie, feature_dim=1, short_term=short_term)
        self.retriever = Retriever(self.config).eval()
        for weight in self.retriever.parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=WEIGHT_STD)
        self.search_graph = folder / "search.onnx"
        export_search(self.retriever, trie, self.search_graph)


class Ours:
    """The default engine with a model, over a catalogue."""

    def __init__(self, model: DefaultModel, trie: SemanticIdTrie, *, threads: int) -> None:
        self.model, self.trie = model, trie
        shape = trie.num_leaves, model.config.vector_width
        self.item_vectors_ND = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        self.engine = OnnxEngine(model.search_graph, trie, self.item_vectors_ND, threads=threads)
        self.eligibility = Eligibility.everything(trie)

    def search(
        self, history_BT: IntArray, *, beam_width: int, eligibility: Eligibility | None = None
    ) -> Callable[[], SearchOutput]:
        """Returns a function that searches for a batch. Each history's own items are excluded.

        Args:
            history_BT: Leaf positions, oldest first.
            beam_width: Beam width of the search.
            eligibility: The items that may be returned; all if None.
        """
        lengths_B = np.full(len(history_BT), history_BT.shape[1])
        excluded_BX = np.sort(history_BT, axis=1)
        return partial(
            self.engine.search,
            history_BT,
            lengths_B,
            excluded_BX,
            eligibility or self.eligibility,
            beam_width=beam_width,
        )

    def matrix_product_flops(self, history_BT: IntArray, *, beam_width: int, folder: Path) -> int:
        """Counts the floating-point operations of one search's matrix products, from ONNX Runtime's profile.

        Args:
            history_BT: Leaf positions, oldest first.
            beam_width: Beam width of the search.
            folder: The folder of the profile.
        """
        session = open_session(self.model.search_graph, profile_to=folder / "profile")
        lengths_B = np.full(len(history_BT), history_BT.shape[1])
        request = request_inputs(history_BT, lengths_B, np.sort(history_BT, axis=1), self.eligibility, beam_width)
        session.run(None, {**request, **catalogue_inputs(self.trie, self.item_vectors_ND)})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        return sum(map(_flops, events))


def _flops(event: dict[str, object]) -> int:
    arguments = event.get("args")
    if not isinstance(arguments, dict) or arguments.get("op_name") not in MATRIX_PRODUCTS:
        return 0
    if not str(event["name"]).endswith("_kernel_time"):
        return 0
    (left,), *_ = (list(shape.values()) for shape in arguments["input_type_shape"])
    (result,) = arguments["output_type_shape"][0].values()
    return 2 * int(np.prod(result)) * int(left[-1])


def random_histories(rng: np.random.Generator, users: int, num_items: int) -> IntArray:
    """Returns histories of distinct items, as leaf positions of shape (users, HISTORY).

    Args:
        rng: Source of random numbers.
        users: Number of histories.
        num_items: Number of items in the catalogue.
    """
    return np.stack([rng.choice(num_items, HISTORY, replace=False) for _ in range(users)])


def measure(
    *, num_items: int, beam_widths: tuple[int, ...], batches: tuple[int, ...], rounds: int, at_least_s: float
) -> tuple[list[tuple[int, int, float, float]], dict[str, float]]:
    """Runs the benchmark.

    Args:
        num_items: Number of items in the catalogue.
        beam_widths: The beam widths to measure.
        batches: The batch sizes to measure.
        rounds: Turns of each measurement.
        at_least_s: Smallest duration of a turn in seconds.

    Returns:
        Beam width, batch size, and milliseconds a request of ours and of the peer; one row each. And the figures that
        the targets are about, at the first beam width: the latency at the first batch size, the others at the last.
    """
    codes_NL = synthetic_codes(num_items, seed=0)
    trie = SemanticIdTrie.build(codes_NL, codebook_size=CODEBOOK_SIZE)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours = Ours(DefaultModel(trie, folder), trie, threads=torch.get_num_threads())
        peer = TransformersPeer(codes_NL, codebook_size=CODEBOOK_SIZE)
        runs: dict[str, Callable[[], object]] = {"gemm": gemm}
        peers: dict[str, Callable[[], object]] = {}
        for beam_width in beam_widths:
            for batch in batches:
                history_BT = random_histories(rng, batch, num_items)
                runs[f"{beam_width} {batch}"] = ours.search(history_BT, beam_width=beam_width)
                codes_BTL = trie.codes_of(history_BT.ravel()).reshape(batch, HISTORY, -1)
                peers[f"{beam_width} {batch}"] = peer.search(codes_BTL, k=K, beam_width=beam_width)
        seconds = median_seconds(runs, rounds=rounds, at_least_s=at_least_s)
        peer_seconds = median_seconds(peers, rounds=max(rounds // 3, 1), at_least_s=at_least_s, warm_up=False)
        flops = ours.matrix_product_flops(
            random_histories(rng, batches[-1], num_items), beam_width=beam_widths[0], folder=folder
        )
    rows = [
        (beam, batch, 1000 * seconds[f"{beam} {batch}"] / batch, 1000 * peer_seconds[f"{beam} {batch}"] / batch)
        for beam in beam_widths
        for batch in batches
    ]
    judged = [row for row in rows if row[0] == beam_widths[0]]
    floor_s = flops / (GEMM_FLOPS / seconds["gemm"])
    figures = {
        "latency_speedup": judged[0][3] / judged[0][2],
        # Compared with the peer's best batch size.
        "throughput_speedup": min(row[3] for row in judged) / judged[-1][2],
        "ms_per_request_b64": judged[-1][2],
        "floor_ratio": floor_s / seconds[f"{beam_widths[0]} {batches[-1]}"],
        "gemm_gflops": GEMM_FLOPS / seconds["gemm"] / 1e9,
        "mflop_per_request": flops / batches[-1] / 1e6,
    }
    return rows, figures


def main() -> None:
    """Measures, and prints the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each measurement (default 5)")
    arguments = parser.parse_args()
    rows, figures = measure(
        num_items=NUM_ITEMS, beam_widths=BEAM_WIDTHS, batches=BATCHES, rounds=arguments.rounds, at_least_s=0.3
    )
    table = Table(title=f"{NUM_ITEMS} items, history {HISTORY}, k {K}; {description()}", title_justify="left")
    for heading in ("beam", "batch", "RQRec, ms a request", "transformers, ms a request", "ratio"):
        table.add_column(heading, justify="right")
    for beam, batch, own_ms, peer_ms in rows:
        table.add_row(str(beam), str(batch), f"{own_ms:.3f}", f"{peer_ms:.1f}", f"{peer_ms / own_ms:.0f}")
    Console().print(table)
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
