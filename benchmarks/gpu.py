"""Measures the search on a GPU, beside one core of the CPU: ONNX Runtime and PyTorch, in full and half precision.

    python -m benchmarks.gpu

The model has the size of the default configuration and random weights, the catalogue has the size of Amazon Beauty's,
and histories have 20 items. Milliseconds are those of a whole batch, with the copies to the GPU and back. Memory is
what the engine takes on the GPU.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.search import NUM_ITEMS, DefaultModel, random_histories
from benchmarks.support.machine import MIB, description, median_seconds
from benchmarks.support.synthetic import CODEBOOK_SIZE, synthetic_codes
from rqrec.models.onnx_session import CPU_PROVIDER, CUDA_PROVIDER, cuda_is_available
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.exporting.export import export_search
from rqrec.models.search.onnx_engine import OnnxEngine
from rqrec.models.search.recommender import SearchEngine
from rqrec.models.search.torch_engine import TorchEngine
from rqrec.models.trie.trie import SemanticIdTrie

BEAM_WIDTH, COMPARED = 20, 5
BATCHES, CPU_BATCHES = (1, 8, 32, 128, 512), (1, 8, 32)
CPU = "ONNX Runtime, one CPU core"


class Engines:
    """All engines with one model over one catalogue.

    Args:
        trie: The catalogue's trie.
        folder: The folder of the graphs.
    """

    def __init__(self, trie: SemanticIdTrie, folder: Path) -> None:
        self.trie, self.model = trie, DefaultModel(trie, folder)
        self.half_graph = folder / "half.onnx"
        export_search(self.model.retriever, trie, self.half_graph, half=True)
        shape = trie.num_leaves, self.model.config.vector_width
        self.vectors_ND = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        self._onnx = partial(OnnxEngine, trie=trie, item_vectors_ND=self.vectors_ND)

    def all(self) -> Iterator[tuple[str, Callable[[], SearchEngine]]]:
        """Yields the name of each engine, and a function that makes it."""
        yield CPU, partial(self._onnx, self.model.search_graph)
        if cuda_is_available():
            longest = self.model.config.max_history
            yield "ONNX Runtime, GPU", partial(self._onnx, self.model.search_graph, cuda=True, max_history=longest)
            yield "ONNX Runtime, GPU, half", partial(self._onnx, self.half_graph, cuda=True, max_history=longest)
        if torch.cuda.is_available():
            for half in (False, True):
                yield f"PyTorch, GPU, CUDA graph{', half' if half else ''}", partial(self._torch, half=half)

    def _torch(self, *, half: bool) -> TorchEngine:
        vectors_ND = torch.from_numpy(self.vectors_ND)
        return TorchEngine(self.model.retriever, self.trie, vectors_ND, device=torch.device("cuda"), half=half)

    def without_cuda_graphs(self) -> str:
        """Says why ONNX Runtime does not run the search as a CUDA graph; empty if it does."""
        options = ort.SessionOptions()
        options.log_severity_level = 4
        providers = [(CUDA_PROVIDER, {"enable_cuda_graph": "1"}), CPU_PROVIDER]
        try:
            ort.InferenceSession(self.half_graph, options, providers=providers)
        except Exception as error:
            return str(error)
        return ""


@contextmanager
def gpu_memory() -> Iterator[Callable[[], float]]:
    """Yields a function that returns how much GPU memory was taken since the start of the block, in MiB."""
    if not torch.cuda.is_available():
        yield lambda: 0.0
        return
    torch.cuda.empty_cache()
    before, _ = torch.cuda.mem_get_info()
    yield lambda: (before - torch.cuda.mem_get_info()[0]) / MIB


def measure(engines: Engines, *, rounds: int, at_least_s: float) -> dict[str, dict[str, float]]:
    """Measures every engine.

    Args:
        engines: The engines.
        rounds: Turns of each measurement.
        at_least_s: Smallest duration of a turn in seconds.

    Returns:
        For each engine, milliseconds by batch ("ms_1" is a batch of 1), the most requests a second, the GPU memory in
        MiB, and the share of histories with the same first five items, in the same order, as the CPU finds.
    """
    rng, found, expected = np.random.default_rng(0), dict[str, dict[str, float]](), np.empty((0, COMPARED))
    histories = {batch: random_histories(rng, batch, engines.trie.num_leaves) for batch in BATCHES}
    for name, make in engines.all():
        with gpu_memory() as taken_mib:
            search = _search(make(), Eligibility.everything(engines.trie))
            first_BK = np.concatenate([search(rows) for rows in np.split(histories[128], 4)])[:, :COMPARED]
            expected = first_BK if name == CPU else expected
            batches = CPU_BATCHES if name == CPU else BATCHES
            runs = {f"ms_{batch}": partial(search, histories[batch]) for batch in batches}
            seconds = median_seconds(runs, rounds=rounds, at_least_s=at_least_s)
            best = max(batch / seconds[f"ms_{batch}"] for batch in batches)
            same = float((first_BK == expected).all(1).mean())
            rows = {label: 1000 * value for label, value in seconds.items()}
            found[name] = {**rows, "requests_per_s": best, "gpu_mib": taken_mib(), "same_five": same}
    return found


def _search(engine: SearchEngine, eligibility: Eligibility) -> Callable[[np.ndarray], np.ndarray]:
    def search(history_BT: np.ndarray) -> np.ndarray:
        lengths_B = np.full(len(history_BT), history_BT.shape[1])
        excluded_BX = np.sort(history_BT, axis=1)
        return engine.search(history_BT, lengths_B, excluded_BX, eligibility, beam_width=BEAM_WIDTH).leaves_BK

    return search


def main() -> None:
    """Measures, and prints the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each measurement (default 3)")
    arguments = parser.parse_args()
    trie = SemanticIdTrie.build(synthetic_codes(NUM_ITEMS, seed=0), codebook_size=CODEBOOK_SIZE)
    with tempfile.TemporaryDirectory() as folder:
        engines = Engines(trie, Path(folder))
        found = measure(engines, rounds=arguments.rounds, at_least_s=0.2)
        refused = engines.without_cuda_graphs() if cuda_is_available() else ""
    device = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    title = f"{NUM_ITEMS:,} items, beam {BEAM_WIDTH}, ms a batch; {description()}{device}"
    table = Table(title=title, title_justify="left")
    for heading in ("engine", *map(str, BATCHES), "requests/s", "GPU MiB", "same five"):
        table.add_column(heading, justify="right")
    for name, row in found.items():
        milliseconds = [f"{row[f'ms_{batch}']:.2f}" if f"ms_{batch}" in row else "-" for batch in BATCHES]
        table.add_row(
            name, *milliseconds, f"{row['requests_per_s']:,.0f}", f"{row['gpu_mib']:,.0f}", f"{row['same_five']:.3f}"
        )
    Console(width=160).print(table)
    if refused:
        print(f"ONNX Runtime refuses to run the search as a CUDA graph: {refused.splitlines()[0]}")
    print(json.dumps({name: {key: round(value, 3) for key, value in row.items()} for name, row in found.items()}))


if __name__ == "__main__":
    main()
