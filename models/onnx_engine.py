"""The search on ONNX Runtime: the default for serving. Needs no torch."""

from pathlib import Path

import numpy as np
import onnxruntime as ort

from models.recommender import IntArray, SearchOutput
from models.trie import SemanticIdTrie

CPU_PROVIDER, CUDA_PROVIDER = "CPUExecutionProvider", "CUDAExecutionProvider"


class OnnxEngine:
    """Searches one catalogue with the graphs that `models.export` wrote.

    The trie and the item vectors are inputs of the search graph, so a changed catalogue needs no new graph.

    Args:
        items_graph: codes_NL → item vectors.
        search_graph: Histories → best leaves and log-probabilities.
        trie: The catalogue.
        threads: Threads of one search; 0 lets ONNX Runtime choose.
        cuda: Compute on the GPU, and fail if that is not possible.

    Raises:
        RuntimeError: If the GPU is asked for and ONNX Runtime has no CUDA provider.
    """

    def __init__(
        self, items_graph: Path, search_graph: Path, trie: SemanticIdTrie, *, threads: int = 0, cuda: bool = False
    ) -> None:
        if cuda and not cuda_is_available():
            raise RuntimeError(
                f"ONNX Runtime offers {ort.get_available_providers()}, not CUDA: install the gpu extra, or use the CPU"
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        providers = [CUDA_PROVIDER, CPU_PROVIDER] if cuda else [CPU_PROVIDER]
        items = ort.InferenceSession(items_graph, options, providers=providers)
        (item_vectors_ND,) = items.run(None, {"codes_NL": trie.codes_NL})
        self._session = ort.InferenceSession(search_graph, options, providers=providers)
        # Wrapped once: what the catalogue holds is not copied again for every request.
        self._catalogue = {
            name: ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), *(("cuda", 0) if cuda else ()))
            for name, array in {"item_vectors_ND": item_vectors_ND, **trie_inputs(trie)}.items()
        }

    def search(
        self, history_BT: IntArray, lengths_B: IntArray, excluded_BX: IntArray, eligible_before: IntArray, *, beam: int
    ) -> SearchOutput:
        """Searches for a batch; see `models.beam_search.BeamSearch`."""
        request = {
            "history_BT": history_BT,
            "lengths_B": lengths_B,
            "excluded_BX": excluded_BX,
            "eligible_before": eligible_before,
            "beam_slots_K": np.arange(beam),
        }
        inputs = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in request.items()}
        leaves_BK, log_probs_BK = self._session.run_with_ort_values(None, {**inputs, **self._catalogue})
        return SearchOutput(leaves_BK.numpy(), log_probs_BK.numpy())


def cuda_is_available() -> bool:
    """Whether the installed ONNX Runtime can compute on a GPU."""
    return CUDA_PROVIDER in ort.get_available_providers()


def trie_inputs(trie: SemanticIdTrie) -> dict[str, IntArray]:
    """The trie's arrays by the names that the search graph gives its inputs."""
    arrays = {f"child_start_{depth}": array for depth, array in enumerate(trie.child_start)}
    arrays |= {f"child_code_{depth}": array for depth, array in enumerate(trie.child_code)}
    arrays |= {f"leaf_start_{depth}": array for depth, array in enumerate(trie.leaf_start[1:-1], start=1)}
    return arrays | {f"slots_{depth}": np.arange(width) for depth, width in enumerate(trie.max_children)}
