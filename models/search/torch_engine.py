"""The search engine on PyTorch, for validation in training and for serving on a GPU.

Shapes: B users, T history items, X excluded leaves of a user, K beams, N leaves, P places (leaves and added items),
D width.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from rqrec.models.array_types import Int32Array, IntArray
from rqrec.models.retriever.config import RetrieverConfig
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.beam_search import BeamSearch
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.exclusion import EligibleTensors
from rqrec.models.search.gpu.buckets import pad_to_bucket
from rqrec.models.search.gpu.cuda_graphs import CudaGraphs
from rqrec.models.search.history.following_items import FollowingTensors
from rqrec.models.search.history.transitions import Following
from rqrec.models.search.ranking import SearchOutput
from rqrec.models.trie.tensors import TrieTensors
from rqrec.models.trie.trie import SemanticIdTrie

NUM_RANKED = 7  # fields of a search's output that are not about prefixes


class TorchEngine:
    """A search engine for one catalogue that runs a retriever in PyTorch.

    Args:
        retriever: A trained retriever. The engine moves it to the device and sets it to evaluation mode.
        trie: The catalogue's trie.
        item_vectors_ND: The vector of the item at each leaf, from `Retriever.item_vectors`.
        device: The device to compute on.
        half: Whether to compute in bfloat16 where float32 is not needed (PyTorch's autocast).
        following: The items that followed the item of each leaf, and the weight of their bonus; None to add none.
        max_history: The length to which histories are padded on a GPU; by default the most items that the retriever
            reads.
    """

    def __init__(
        self,
        retriever: Retriever,
        trie: SemanticIdTrie,
        item_vectors_ND: torch.Tensor,
        *,
        device: torch.device,
        half: bool = False,
        following: Following | None = None,
        max_history: int | None = None,
    ) -> None:
        self._device, self._half = device, half
        self._beam_search = BeamSearch(retriever.to(device), fixed_shapes=device.type != "cpu").eval()
        self._config = retriever.config
        self._padded_length = max_history or retriever.config.max_history
        self._trie = TrieTensors.from_trie(trie).to(self._device)
        self._paths_LN = self._tensor(trie.paths_LN)
        self._item_vectors_ND = item_vectors_ND.to(self._device)
        self._following = FollowingTensors.from_following(following or Following.none(trie.num_leaves), self._device)
        self._graphs = CudaGraphs(self._compute, device) if device.type == "cuda" else None

    def with_vectors(self, item_vectors_PD: NDArray[np.float32]) -> "TorchEngine":
        """Makes an engine whose histories may contain items that were added after the trie was built.

        This engine does not change. Both engines share the arrays of the trie.

        Args:
            item_vectors_PD: The item vectors, float32: first those of the N leaves, then those of the added items.
        """
        other = copy.copy(self)
        other._item_vectors_ND = self._tensor(item_vectors_PD)
        if self._graphs is not None:
            other._graphs = CudaGraphs(other._compute, self._device)
        return other

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
                unknown. Ignored if the retriever reads no event types.
            in_session_B: 1 for a request in the session of the last history item, else 0; int32. None if no one is.
            with_prefixes: Whether to return the prefixes of all beams too.
        """
        request: dict[str, NDArray[Any]] = {
            "history_BT": history_BT,
            "lengths_B": lengths_B,
            "excluded_BX": excluded_BX,
            "in_session_B": np.zeros(len(lengths_B), dtype=np.int32) if in_session_B is None else in_session_B,
        }
        if self._config.num_event_types:
            request["types_BT"] = np.zeros_like(history_BT) if types_BT is None else types_BT
        levels = self._config.num_levels if with_prefixes else 0
        outputs = NUM_RANKED + 2 * levels
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            self._beam_search.eval()  # training may set the retriever to training mode between two searches
            if self._graphs is None:
                tensors = {name: self._tensor(array) for name, array in request.items()}
                eligible = EligibleTensors.from_eligibility(eligibility, self._device)
                found = [one.cpu().numpy() for one in self._compute(tensors, eligible, beam_width)[:outputs]]
            else:
                padded = pad_to_bucket(request, max_history=self._padded_length)
                found = self._graphs.run(padded, eligibility, beam_width=beam_width, outputs=outputs)
        ranked, prefixes = found[:NUM_RANKED], found[NUM_RANKED:]
        result = SearchOutput(*ranked)
        if prefixes:
            nodes, log_probs = prefixes[:levels], prefixes[levels:]
            result = result._replace(
                prefix_nodes_BLK=np.stack(nodes, axis=1), prefix_log_probs_BLK=np.stack(log_probs, axis=1)
            )
        return result.of_users(slice(len(lengths_B)))

    def _compute(
        self, request: Mapping[str, torch.Tensor], eligible: EligibleTensors, beam_width: int
    ) -> tuple[torch.Tensor, ...]:
        """Computes a search. The results about prefixes come last: the nodes by depth, then the log-probabilities."""
        found = self._beam_search(
            request["history_BT"],
            request["lengths_B"],
            torch.arange(beam_width, dtype=torch.float32, device=self._device),
            eligible,
            request["excluded_BX"],
            self._item_vectors_ND,
            self._paths_LN,
            self._trie,
            self._following,
            request["in_session_B"],
            request.get("types_BT"),
        )
        return (*found[:NUM_RANKED], *found.prefix_nodes, *found.prefix_log_probs)

    def _tensor(self, array: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)


def load_torch_engine(
    weights: Path,
    config: Mapping[str, Any],
    trie: SemanticIdTrie,
    item_vectors_ND: NDArray[np.float32],
    device: str,
    *,
    half: bool = False,
    following: Following | None = None,
    max_history: int | None = None,
) -> TorchEngine:
    """Loads the weights of a retriever from a file, and makes a search engine with it.

    Args:
        weights: The path of the safetensors file with the weights.
        config: The fields of the retriever's `RetrieverConfig` by name.
        trie: The catalogue's trie.
        item_vectors_ND: The vector of the item at each leaf, float32.
        device: "cpu", "cuda", or "auto" for the GPU if there is one.
        half: Whether to compute in bfloat16 where float32 is not needed; ignored on a CPU.
        following: The items that followed the item of each leaf, and the weight of their bonus; None to add none.
        max_history: The length to which histories are padded on a GPU; by default the most items that the retriever
            reads.
    """
    retriever = Retriever(RetrieverConfig.from_fields(config))
    retriever.load_state_dict(load_file(weights))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    place = torch.device(device)
    vectors_ND = torch.from_numpy(item_vectors_ND)
    half = half and place.type == "cuda"
    return TorchEngine(
        retriever, trie, vectors_ND, device=place, half=half, following=following, max_history=max_history
    )
