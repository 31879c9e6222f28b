"""A search can be captured as a CUDA graph: it makes no tensor from values of Python, and reads none back.

Capturing refuses both, because they copy between the host and the GPU. This test finds them without a GPU.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from rqrec.models.search.beam_search import BeamSearch
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.exclusion import EligibleTensors
from rqrec.models.trie.trie import SemanticIdTrie
from tests.models.conftest import CPU, random_engine, random_retriever

TO_DEVICE = (torch.tensor, torch.as_tensor, torch.from_numpy, torch.asarray)
READS = tuple(
    getattr(torch.Tensor, name) for name in ("item", "tolist", "numpy", "cpu", "nonzero", "argwhere", "__bool__")
)


class NoCopies(TorchFunctionMode):
    """Refuses what copies between the host and the GPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        copies = func in READS or (func in TO_DEVICE and not isinstance(args[0], torch.Tensor))
        assert not copies, f"{func} copies between the host and the GPU"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("num_event_types", [0, 2])
def test_a_search_copies_nothing_between_host_and_gpu(trie: SemanticIdTrie, num_event_types: int) -> None:
    retriever = random_retriever(trie, num_event_types=num_event_types)
    engine = random_engine(retriever, trie)
    engine._beam_search = BeamSearch(retriever, fixed_shapes=True).eval()  # as on a GPU
    request = {
        "history_BT": torch.tensor([[1, 2, 3], [4, 5, 0]]),
        "lengths_B": torch.tensor([3, 2]),
        "excluded_BX": torch.tensor([[1], [-1]]),
        "in_session_B": torch.tensor([0, 1], dtype=torch.int32),
        "types_BT": torch.tensor([[1, 2, 0], [0, 1, 0]]),
    }
    eligible = EligibleTensors.from_eligibility(Eligibility.from_mask(trie, np.ones(trie.num_leaves, dtype=bool)), CPU)
    with torch.inference_mode(), NoCopies():
        found = engine._compute(request, eligible, 8)
    assert found[0].shape[0] == len(request["history_BT"])
