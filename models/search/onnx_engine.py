"""The search engine on ONNX Runtime, which the service uses by default. This module does not need PyTorch.

Shapes: B users, T history items, X excluded leaves of a user, K beams, N leaves, P places (leaves and added items),
D width.
"""

import copy
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from rqrec.models.array_types import Int32Array, IntArray
from rqrec.models.onnx_session import cuda_is_available, open_session
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.gpu.buckets import pad_to_bucket
from rqrec.models.search.history.transitions import Following
from rqrec.models.search.ranking import SearchOutput
from rqrec.models.trie.arrays import TrieArrays, by_depth
from rqrec.models.trie.trie import SemanticIdTrie

SMALLEST_PART = 16  # histories; a parallel search of fewer costs more than it saves
SMALLEST_AWAITED_PART, MOST_CORES = 6, 4  # of a search for which one user waits
ITEM_VECTORS, TYPES, IN_SESSION = "item_vectors_ND", "types_BT", "in_session_B"
PREFIX_FIELDS = 2  # of a search's output: the nodes and the log-probabilities of the beams
OUTPUTS = SearchOutput._fields[:-PREFIX_FIELDS]


class OnnxEngine:
    """A search engine for one catalogue that runs the ONNX file which `models.search.exporting.export` wrote.

    The trie and the item vectors are inputs of the graph, so a changed catalogue needs no new graph.

    Args:
        search_graph: The path of the ONNX file, in float32 or float16.
        trie: The catalogue's trie.
        item_vectors_ND: The vector of the item at each leaf, float32, shape (N, D).
        threads: The number of threads on a CPU. A large batch is split into this number of parts, and each thread
            searches one part. Most operations are too small to be split among threads themselves.
        cuda: Whether to compute on the GPU. Inputs are then padded to a few shapes (see `models.search.gpu.buckets`).
        max_history: The length to which histories are padded on a GPU; not used on a CPU.
        following: The items that followed the item of each leaf, and the weight of their bonus; None to add none. A
            graph of a bundle of format 9 adds none.

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
        following: Following | None = None,
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
        cores = min(os.cpu_count() or 1, MOST_CORES)
        self._helpers = ThreadPoolExecutor(cores - 1, "rqrec-explain") if cores > 1 and not cuda else None
        inputs = self._search.get_inputs()
        outputs = [one.name for one in self._search.get_outputs()]
        self._outputs = [name for name in outputs if name in OUTPUTS]
        self._prefix_outputs = [name for name in prefix_outputs(trie.num_levels) if name in outputs]
        self._reads_types, self._reads_sessions = (
            any(one.name == name for one in inputs) for name in (TYPES, IN_SESSION)
        )
        self._is_half = any(one.type == "tensor(float16)" for one in inputs)
        arrays = catalogue_inputs(trie, item_vectors_ND, following)
        self._catalogue = self._values({one.name: arrays[one.name] for one in inputs if one.name in arrays})
        self._of_thread = local()

    def with_vectors(self, item_vectors_PD: NDArray[np.float32]) -> "OnnxEngine":
        """Makes an engine whose histories may contain items that were added after the trie was built.

        This engine does not change. Both engines share the arrays of the trie.

        Args:
            item_vectors_PD: The item vectors, float32: first those of the N leaves, then those of the added items.
        """
        other = copy.copy(self)
        other._catalogue = {**self._catalogue, **self._values({ITEM_VECTORS: item_vectors_PD})}
        other._of_thread = local()
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
        in_session_B: Int32Array | None = None,
        with_prefixes: bool = False,
    ) -> SearchOutput:
        """Finds the K best items that pass a filter, for each of B users.

        Args:
            history_BT: The places of each user's history items, oldest first, padded at the end with any valid place;
                int64. A place is a leaf of the trie, or a number after all leaves for an item that was added later.
            lengths_B: The number of items in each history, 1..T, int64.
            excluded_BX: For each user, the leaves that must not be returned: distinct leaves that pass the filter, in
                ascending order, padded at the end with -1; int64, X >= 1.
            eligibility: The items that pass the filter.
            beam_width: K, the number of beams and of returned items for each user.
            types_BT: The event type of each history item, 0 for unknown, padded at the end; int64. None if all are
                unknown. Ignored if the graph reads no event types.
            in_session_B: 1 for a request in the session of the last history item, else 0; int32. None if no one is.
            with_prefixes: Whether to return the prefixes of all beams too. The graph of a bundle of format 9 has none.
                On a CPU such a search, for which one user waits, is split among the cores even if it is small.
        """
        if self._reads_types and types_BT is None:
            types_BT = np.zeros_like(history_BT)

        def part(users: slice) -> SearchOutput:
            request = request_inputs(history_BT[users], lengths_B[users], excluded_BX[users], eligibility, beam_width)
            if in_session_B is not None:
                request[IN_SESSION] = in_session_B[users]
            if not self._reads_sessions:
                del request[IN_SESSION]
            if self._reads_types and types_BT is not None:
                request[TYPES] = types_BT[users]
            return self._run(request, self._prefix_outputs if with_prefixes else [])

        threads, parts, smallest = self._threads, self._parts, SMALLEST_PART
        if with_prefixes:
            threads, parts, smallest = self._helpers, min(os.cpu_count() or 1, MOST_CORES), SMALLEST_AWAITED_PART
        if threads is None or len(lengths_B) < 2 * smallest:
            return part(slice(None))
        size = max(-(-len(lengths_B) // parts), smallest)
        first, *others = (slice(begin, begin + size) for begin in range(0, len(lengths_B), size))
        found = threads.map(part, others)
        return SearchOutput._make(
            None if arrays[0] is None else np.concatenate(arrays) for arrays in zip(part(first), *found, strict=True)
        )

    def _run(self, request: dict[str, NDArray[Any]], prefix_outputs: list[str]) -> SearchOutput:
        users = len(request["lengths_B"])
        if self._cuda:
            request = pad_to_bucket(request, max_history=self._max_history)
        if not hasattr(self._of_thread, "run"):
            self._of_thread.run = _BoundRun(self._search, self._catalogue)
        outputs = [output[:users] for output in self._of_thread.run(request, (*self._outputs, *prefix_outputs))]
        ranked, prefixes = outputs[: len(self._outputs)], outputs[len(self._outputs) :]
        found = SearchOutput(*ranked)
        if not prefixes:
            return found
        levels = len(prefixes) // PREFIX_FIELDS
        return found._replace(
            prefix_nodes_BLK=np.stack(prefixes[:levels], axis=1),
            prefix_log_probs_BLK=np.stack(prefixes[levels:], axis=1),
        )


class _BoundRun:
    """Runs the graph in one thread. What is the same as in the run before is not bound again, because it costs time.

    Args:
        search: The session of the graph.
        catalogue: The inputs that are the same in all runs, by name.
    """

    def __init__(self, search: ort.InferenceSession, catalogue: Mapping[str, ort.OrtValue]) -> None:
        self._search, self._binding = search, search.io_binding()
        for name, value in catalogue.items():
            self._binding.bind_ortvalue_input(name, value)
        self._inputs = dict[str, NDArray[Any]]()
        self._bound_outputs: tuple[Any, ...] | None = None

    def __call__(self, request: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> list[NDArray[Any]]:
        """Computes outputs, in their order, as arrays of their own.

        Args:
            request: The other inputs, by name. Arrays are not to be changed after the call.
            outputs: The names of the outputs.
        """
        for name, array in request.items():
            if self._inputs.get(name) is not array:  # those of a filter are the same from request to request
                self._binding.bind_cpu_input(name, array)
                self._inputs[name] = array
        # A run writes into the arrays of the run before if they are still bound, so their shapes must be the same.
        wanted = (len(request["lengths_B"]), len(request["beam_slots_K"]), *outputs)
        if wanted != self._bound_outputs:
            self._binding.clear_binding_outputs()
            for name in outputs:
                self._binding.bind_output(name)
        self._bound_outputs = None  # unknown if the run fails
        self._search.run_with_iobinding(self._binding)
        self._bound_outputs = wanted
        return list(self._binding.copy_outputs_to_cpu())


def request_inputs(
    history_BT: IntArray,
    lengths_B: IntArray,
    excluded_BX: IntArray,
    eligibility: Eligibility,
    beam_width: int,
) -> dict[str, NDArray[Any]]:
    """Returns the inputs of the search's ONNX graph that differ from request to request, by input name.

    No request is in a session.

    `models.search.recommender.SearchEngine.search` has the same arguments and describes them in full.

    Args:
        history_BT: The places (item numbers) of each user's history items, int64.
        lengths_B: The number of items in each history, int64.
        excluded_BX: For each user, the leaves that must not be returned, int64.
        eligibility: The items that pass the filter.
        beam_width: K, the number of beams of each user.
    """
    return {
        "history_BT": history_BT,
        "lengths_B": lengths_B,
        "beam_slots_K": np.arange(beam_width, dtype=np.float32),
        **eligible_inputs(eligibility),
        "excluded_BX": excluded_BX,
        IN_SESSION: np.zeros(len(lengths_B), dtype=np.int32),
    }


def prefix_outputs(num_levels: int) -> list[str]:
    """Returns the names of the graph's outputs about prefixes: the nodes of the beams at each depth, then their scores.

    A search computes them in any case. They are copied only if they are asked for.
    """
    return [f"{name}_{depth}" for name in ("prefix_nodes", "prefix_log_probs") for depth in range(1, num_levels + 1)]


def eligible_inputs(eligibility: Eligibility) -> dict[str, NDArray[Any]]:
    """Returns the inputs of the search's ONNX graph that depend on the filter, by input name, in the graph's order."""
    return {
        **by_depth("penalties", eligibility.penalties),
        "eligible_below": eligibility.eligible_below,
        "first_inner_I": eligibility.first_inner_I,
    }


def catalogue_inputs(
    trie: SemanticIdTrie, item_vectors_ND: NDArray[np.floating], following: Following | None = None
) -> dict[str, NDArray[Any]]:
    """Returns the inputs of the search's ONNX graph that depend on the catalogue, by input name, in the graph's order.

    Args:
        trie: The catalogue's trie.
        item_vectors_ND: The item vectors: first those of the N leaves, then those of items that were added after the
            trie was built.
        following: The items that followed the item of each leaf, and the weight of their bonus; None for no such items.
    """
    return {
        ITEM_VECTORS: item_vectors_ND,
        "paths_LN": trie.paths_LN,
        **TrieArrays.from_trie(trie).by_input_name(),
        **(following or Following.none(trie.num_leaves)).by_input_name(),
    }
