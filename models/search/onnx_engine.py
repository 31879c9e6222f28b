"""The search on ONNX Runtime, the default for serving. Needs no torch.

Shapes: as in `models.search.recommender`.
"""

import copy
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from rqrec.models.array_types import IntArray
from rqrec.models.onnx_session import cuda_is_available, open_session
from rqrec.models.search.buckets import pad_to_bucket
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.ranking import SearchOutput
from rqrec.models.trie.arrays import TrieArrays, by_depth
from rqrec.models.trie.trie import SemanticIdTrie

SMALLEST_PART = 16  # histories; a parallel search of fewer costs more than it saves
ITEM_VECTORS, TYPES = "item_vectors_ND", "types_BT"
OUTPUTS = ("leaves_BK", "log_probs_BK", "scores_BK", "queries_BD")


class OnnxEngine:
    """Searches one catalogue with the graph that `models.search.export` wrote.

    The trie and the item vectors are inputs of the graph, so a changed catalogue needs no new graph.

    Args:
        search_graph: The graph of the search, in float32 or float16.
        trie: The catalogue's trie.
        item_vectors_ND: Item vectors by leaf, float32.
        threads: Number of parts of a batch that are searched in parallel, one thread each. Two searches in parallel are
            faster than one search on two threads, because most operations are too small to split.
        cuda: Compute on the GPU. Inputs are padded to a few shapes (see `models.search.buckets`).
        max_history: The model's T; on a GPU, histories are padded to it.

    Raises:
        RuntimeError: If `cuda` is set and ONNX Runtime has no CUDA provider.
    """

    def __init__(
        self,
        search_graph: Path,
        trie: SemanticIdTrie,
        item_vectors_ND: NDArray[np.float32],
        *,
        threads: int = 1,
        cuda: bool = False,
        max_history: int = 0,
    ) -> None:
        if cuda and not cuda_is_available():
            raise RuntimeError(
                f"expected the CUDA provider of ONNX Runtime, got {ort.get_available_providers()}: install the gpu "
                "extra, or use the CPU"
            )
        self._cuda = cuda
        self._search = open_session(search_graph, cuda=cuda)
        self._max_history = max_history
        self._threads = ThreadPoolExecutor(threads - 1) if threads > 1 and not cuda else None
        self._parts = threads
        self._reads_types = any(one.name == TYPES for one in self._search.get_inputs())
        self._is_half = any(one.type == "tensor(float16)" for one in self._search.get_inputs())
        self._catalogue = self._values(catalogue_inputs(trie, item_vectors_ND))
        self._bound = local()

    def with_vectors(self, item_vectors_PD: NDArray[np.float32]) -> "OnnxEngine":
        """Implements `models.search.recommender.SearchEngine.with_vectors`. Both engines share the trie's arrays."""
        other = copy.copy(self)
        other._catalogue = {**self._catalogue, **self._values({ITEM_VECTORS: item_vectors_PD})}
        other._bound = local()
        return other

    def _values(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, ort.OrtValue]:
        """Wraps arrays for ONNX Runtime, without a copy on the CPU and with one on the GPU."""
        device = ("cuda", 0) if self._cuda else ()
        return {
            name: ort.OrtValue.ortvalue_from_numpy(
                array.astype(np.float16) if self._is_half and name == ITEM_VECTORS else array, *device
            )
            for name, array in arrays.items()
        }

    def search(
        self,
        history_BT: IntArray,
        lengths_B: IntArray,
        excluded_BX: IntArray,
        eligibility: Eligibility,
        *,
        beam_width: int,
        types_BT: IntArray | None = None,
    ) -> SearchOutput:
        """Searches for a batch of users, in parallel parts if the batch is large.

        Args:
            history_BT: As in `models.search.recommender.SearchEngine.search`, like all other arguments.
            lengths_B: Number of items in each history.
            excluded_BX: Leaves that must not be returned.
            eligibility: The leaves that may be returned.
            beam_width: K.
            types_BT: Event types of the history's items.
        """
        if self._reads_types and types_BT is None:
            types_BT = np.zeros_like(history_BT)

        def part(users: slice) -> SearchOutput:
            request = request_inputs(history_BT[users], lengths_B[users], excluded_BX[users], eligibility, beam_width)
            if self._reads_types and types_BT is not None:
                request[TYPES] = types_BT[users]
            return self._run(request)

        if self._threads is None or len(lengths_B) < 2 * SMALLEST_PART:
            return part(slice(None))
        size = max(-(-len(lengths_B) // self._parts), SMALLEST_PART)
        first, *others = (slice(begin, begin + size) for begin in range(0, len(lengths_B), size))
        found = self._threads.map(part, others)
        return SearchOutput(*map(np.concatenate, zip(part(first), *found, strict=True)))

    def _run(self, request: dict[str, NDArray[Any]]) -> SearchOutput:
        users = len(request["lengths_B"])
        if self._cuda:
            request = pad_to_bucket(request, max_history=self._max_history)
        binding = self._binding()
        for name, array in request.items():
            binding.bind_cpu_input(name, array)
        binding.clear_binding_outputs()  # the shapes of the outputs may differ from those of the run before
        for name in OUTPUTS:
            binding.bind_output(name)
        self._search.run_with_iobinding(binding)
        return SearchOutput(*(output[:users] for output in binding.copy_outputs_to_cpu()))

    def _binding(self) -> ort.IOBinding:
        """This thread's binding. The catalogue's arrays are bound once per thread, not once per request."""
        if not hasattr(self._bound, "binding"):
            binding = self._search.io_binding()
            for name, value in self._catalogue.items():
                binding.bind_ortvalue_input(name, value)
            self._bound.binding = binding
        return self._bound.binding


def request_inputs(
    history_BT: IntArray,
    lengths_B: IntArray,
    excluded_BX: IntArray,
    eligibility: Eligibility,
    beam_width: int,
) -> dict[str, NDArray[Any]]:
    """The inputs of the search graph that change with a request, by name.

    `models.search.recommender.SearchEngine.search` has the same arguments and describes them in full.

    Args:
        history_BT: Places of the history's items.
        lengths_B: Number of items in each history.
        excluded_BX: Leaves that must not be returned.
        eligibility: The leaves that may be returned.
        beam_width: K, the beams kept at every level.
    """
    return {
        "history_BT": history_BT,
        "lengths_B": lengths_B,
        "beam_slots_K": np.arange(beam_width, dtype=np.float32),
        **eligible_inputs(eligibility),
        "excluded_BX": excluded_BX,
    }


def eligible_inputs(eligibility: Eligibility) -> dict[str, NDArray[Any]]:
    """The inputs of the search graph that change with a filter, by name, in the graph's order."""
    return {
        **by_depth("penalties", eligibility.penalties),
        "eligible_below": eligibility.eligible_below,
        "first_inner_I": eligibility.first_inner_I,
    }


def catalogue_inputs(trie: SemanticIdTrie, item_vectors_ND: NDArray[np.floating]) -> dict[str, NDArray[Any]]:
    """The inputs of the search graph that change with the catalogue, by name, in the graph's order.

    Args:
        trie: The catalogue's trie.
        item_vectors_ND: Item vectors by place.
    """
    return {ITEM_VECTORS: item_vectors_ND, "paths_LN": trie.paths_LN, **TrieArrays.from_trie(trie).by_input_name()}
