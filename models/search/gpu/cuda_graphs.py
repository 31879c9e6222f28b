"""Runs the search on a GPU as CUDA graphs: a search is one copy to the GPU, one launch and one copy back.

Without a graph, the processor launches several hundred kernels for a search, and most of them are shorter than their
launch. A CUDA graph launches all of them at once. It is captured for one combination of shapes, so the inputs are first
padded to a few shapes (see `models.search.gpu.buckets`).

Shapes: B users, T history items, X excluded leaves of a user, K beams.
"""

import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.exclusion import EligibleTensors

KEPT_GRAPHS = 32
WARM_UPS = 2  # the first runs choose algorithms and allocate workspaces, which a capture must not do
# While a thread captures a graph, no other thread may use the GPU, also not for another catalogue.
_GPU = Lock()

# Computes a search from its inputs on the GPU: integers by name, and the leaves that pass the filter.
Compute = Callable[[Mapping[str, Tensor], EligibleTensors, int], tuple[Tensor, ...]]


class CudaGraphs:
    """Runs a search as a CUDA graph. Keeps the graphs of the latest `KEPT_GRAPHS` combinations of shapes.

    The function that computes the search must read the same weights and arrays in each call, and must not wait for the
    GPU. Its results must be int32 or float32.

    Args:
        compute: Computes the search from the request's integers, the eligible leaves and the beam width.
        device: The GPU.
    """

    def __init__(self, compute: Compute, device: torch.device) -> None:
        self._compute, self._device = compute, device
        self._graphs: OrderedDict[tuple[object, ...], _Graph] = OrderedDict()

    def run(
        self, request: Mapping[str, NDArray[Any]], eligibility: Eligibility, *, beam_width: int, outputs: int
    ) -> list[NDArray[Any]]:
        """Computes a search.

        Args:
            request: The inputs of the search that are integers, by name, padded by `models.search.gpu.buckets`.
            eligibility: The items that pass the filter.
            beam_width: K, the number of beams of each user.
            outputs: How many of the results to return, the first ones.
        """
        key = (beam_width, outputs, *((name, array.shape) for name, array in request.items()))
        with _GPU:
            graph = self._graphs.get(key)
            if graph is None:
                graph = _Graph.capture(
                    lambda inputs, eligible: self._compute(inputs, eligible, beam_width)[:outputs],
                    request,
                    eligibility,
                    self._device,
                )
                self._graphs[key] = graph
                if len(self._graphs) > KEPT_GRAPHS:
                    self._graphs.popitem(last=False)
            self._graphs.move_to_end(key)
            return graph.replay(request, eligibility)


@dataclass
class _Graph:
    """A captured graph, and the tensors that it reads and writes.

    Attributes:
        graph: The graph.
        request: The inputs of all requests, one after the other, int64, on the GPU.
        staged: The same on the host, in memory that the GPU can copy from.
        eligible: The arrays of the filter that the graph reads.
        filter_of: The filter whose arrays `eligible` has now.
        found: All results, one after the other, as int32, on the GPU.
        fetched: The same on the host.
        layout: Shape and dtype of each result.
    """

    graph: torch.cuda.CUDAGraph
    request: Tensor
    staged: Tensor
    eligible: EligibleTensors
    filter_of: weakref.ref[Eligibility]
    found: Tensor
    fetched: Tensor
    layout: list[tuple[torch.Size, torch.dtype]]

    @classmethod
    def capture(
        cls,
        compute: Callable[[Mapping[str, Tensor], EligibleTensors], tuple[Tensor, ...]],
        example: Mapping[str, NDArray[Any]],
        eligibility: Eligibility,
        device: torch.device,
    ) -> "_Graph":
        """Captures a computation for the shapes of an example."""
        staged = torch.from_numpy(_joined(example)).pin_memory()
        request = staged.to(device)
        eligible = EligibleTensors.from_eligibility(eligibility, device)

        def run() -> tuple[Tensor, ...]:
            parts = zip(example.items(), request.split([array.size for array in example.values()]), strict=True)
            inputs = {name: part.view(array.shape).to(_torch_type(array)) for (name, array), part in parts}
            return tuple(one.float() if one.is_floating_point() else one.int() for one in compute(inputs, eligible))

        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                results = run()
        torch.cuda.current_stream(device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            found = torch.cat([result.flatten().view(torch.int32) for result in run()])
        fetched = torch.empty(found.shape, dtype=found.dtype, pin_memory=True)
        layout = [(result.shape, result.dtype) for result in results]
        return cls(graph, request, staged, eligible, weakref.ref(eligibility), found, fetched, layout)

    def replay(self, request: Mapping[str, NDArray[Any]], eligibility: Eligibility) -> list[NDArray[Any]]:
        """Computes the results of a request of the graph's shapes."""
        self.staged.numpy()[:] = _joined(request)
        self.request.copy_(self.staged, non_blocking=True)
        if self.filter_of() is not eligibility:
            self._read(eligibility)
        self.graph.replay()
        self.fetched.copy_(self.found, non_blocking=True)
        torch.cuda.current_stream(self.found.device).synchronize()
        results = self.fetched.clone().split([shape.numel() for shape, _ in self.layout])
        return [part.view(dtype).view(shape).numpy() for part, (shape, dtype) in zip(results, self.layout, strict=True)]

    def _read(self, eligibility: Eligibility) -> None:
        """Copies the arrays of a filter to where the graph reads them."""
        arrays = (*eligibility.penalties, eligibility.eligible_below)
        for tensor, array in zip((*self.eligible.penalties, self.eligible.eligible_below), arrays, strict=True):
            tensor.copy_(torch.from_numpy(array))
        self.filter_of = weakref.ref(eligibility)


def _torch_type(array: NDArray[Any]) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype=array.dtype)).dtype


def _joined(request: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    return np.concatenate([array.ravel() for array in request.values()], dtype=np.int64)
