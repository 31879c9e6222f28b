"""The search on PyTorch, for validation in training and for serving on a GPU.

Shapes: as in `models.search.recommender`.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from rqrec.models.array_types import IntArray
from rqrec.models.retriever.config import RetrieverConfig
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.beam_search import BeamSearch
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.exclusion import EligibleTensors
from rqrec.models.search.ranking import SearchOutput
from rqrec.models.trie.tensors import TrieTensors
from rqrec.models.trie.trie import SemanticIdTrie


class TorchEngine:
    """Searches one catalogue with a retriever.

    Args:
        retriever: A trained retriever. The engine moves it to the device and sets it to evaluation mode.
        trie: The catalogue's trie.
        item_vectors_ND: Item vectors by leaf, from `Retriever.item_vectors`.
        device: The device to compute on.
        half: Compute in bfloat16 where float32 is not needed.
    """

    def __init__(
        self,
        retriever: Retriever,
        trie: SemanticIdTrie,
        item_vectors_ND: torch.Tensor,
        *,
        device: torch.device,
        half: bool = False,
    ) -> None:
        self._device, self._half = device, half
        self._beam_search = BeamSearch(retriever.to(device), fixed_shapes=device.type != "cpu").eval()
        self._trie = TrieTensors.from_trie(trie).to(self._device)
        self._paths_LN = self._tensor(trie.paths_LN)
        self._item_vectors_ND = item_vectors_ND.to(self._device)

    def with_vectors(self, item_vectors_PD: NDArray[np.float32]) -> "TorchEngine":
        """Implements `models.search.recommender.SearchEngine.with_vectors`. Both engines share the trie's tensors."""
        other = copy.copy(self)
        other._item_vectors_ND = self._tensor(item_vectors_PD)
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
    ) -> SearchOutput:
        """Searches for a batch of users.

        Args:
            history_BT: As in `models.search.recommender.SearchEngine.search`, like all other arguments.
            lengths_B: Number of items in each history.
            excluded_BX: Leaves that must not be returned.
            eligibility: The leaves that may be returned.
            beam_width: K.
            types_BT: Event types of the history's items; not read if the retriever reads none.
        """
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            self._beam_search.eval()  # training may set the retriever to training mode between two searches
            found = self._beam_search(
                self._tensor(history_BT),
                self._tensor(lengths_B),
                torch.arange(beam_width, dtype=torch.float32, device=self._device),
                EligibleTensors.from_eligibility(eligibility, self._device),
                self._tensor(excluded_BX),
                self._item_vectors_ND,
                self._paths_LN,
                self._trie,
                None if types_BT is None else self._tensor(types_BT),
            )
            return SearchOutput(*(array.cpu().numpy() for array in found))

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
) -> TorchEngine:
    """Loads a retriever's weights and makes an engine of them.

    Args:
        weights: The safetensors file of the weights.
        config: The fields of the retriever's `RetrieverConfig`.
        trie: The catalogue's trie.
        item_vectors_ND: Item vectors by leaf, float32.
        device: "cpu", "cuda", or "auto" for the GPU if there is one.
        half: As in `TorchEngine`; ignored on a CPU.
    """
    retriever = Retriever(RetrieverConfig(**config))
    retriever.load_state_dict(load_file(weights))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    vectors_ND = torch.from_numpy(item_vectors_ND)
    return TorchEngine(retriever, trie, vectors_ND, device=torch.device(device), half=half and device == "cuda")
