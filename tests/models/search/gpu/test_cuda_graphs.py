"""A search on a GPU, as a CUDA graph, finds what the same search finds on a CPU."""

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.gpu import cuda_graphs
from rqrec.models.search.ranking import SearchOutput
from rqrec.models.search.torch_engine import TorchEngine
from rqrec.models.trie.trie import SemanticIdTrie
from tests.models.conftest import CPU, random_catalogue, random_retriever

pytestmark = pytest.mark.gpu

ITEMS, ADDED, BEAMS = 40, 3, 8
TOLERANCE = 2e-4


@dataclass(frozen=True)
class Engines:
    """The same engine on both devices."""

    cpu: TorchEngine
    gpu: TorchEngine

    def with_vectors(self, vectors_PD: NDArray[np.float32]) -> "Engines":
        return Engines(self.cpu.with_vectors(vectors_PD), self.gpu.with_vectors(vectors_PD))


@pytest.fixture
def typed(trie: SemanticIdTrie) -> Retriever:
    return random_retriever(trie, num_event_types=2)


@pytest.fixture
def engines(typed: Retriever, trie: SemanticIdTrie) -> Engines:
    vectors_ND = typed.item_vectors(random_catalogue(trie))
    gpu = TorchEngine(copy.deepcopy(typed), trie, vectors_ND, device=torch.device("cuda"))
    return Engines(TorchEngine(typed, trie, vectors_ND, device=CPU), gpu)


def requests(trie: SemanticIdTrie, *, places: int = ITEMS, seed: int = 0) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Requests whose numbers of users, lengths, exclusions and filters differ, some of them of equal shapes."""
    rng = np.random.default_rng(seed)
    filters = [Eligibility.from_mask(trie, rng.random(ITEMS) < share) for share in (1.0, 0.5, 0.3)]
    for number in range(12):
        users, length = (1, 3, 4, 9)[number % 4], int(rng.integers(1, 7))
        eligibility = filters[number % 3]
        excluded_BX = np.full((users, 2), -1)
        for row in excluded_BX:
            row[:1] = rng.choice(np.flatnonzero(eligibility.mask_N))
        arguments = (
            rng.integers(0, places, (users, length)),
            rng.integers(1, length + 1, users),
            excluded_BX,
            eligibility,
        )
        options = {
            "beam_width": BEAMS,
            "types_BT": rng.integers(0, 3, (users, length)) if number % 2 else None,
            "in_session_B": rng.integers(0, 2, users).astype(np.int32),
            "with_prefixes": number % 5 == 0,
        }
        yield arguments, options


def assert_same(one: SearchOutput, other: SearchOutput) -> None:
    for name, expected, found in zip(one._fields, one, other, strict=True):
        assert (expected is None) == (found is None), name
        if expected is not None and found is not None:
            assert expected.dtype == found.dtype, name
            np.testing.assert_allclose(found, expected, atol=TOLERANCE, err_msg=name)


def test_finds_what_a_cpu_finds(engines: Engines, trie: SemanticIdTrie) -> None:
    for arguments, options in requests(trie):
        assert_same(engines.cpu.search(*arguments, **options), engines.gpu.search(*arguments, **options))


def test_an_earlier_result_does_not_change(engines: Engines, trie: SemanticIdTrie) -> None:
    (arguments, options), *others = requests(trie)
    found = engines.gpu.search(*arguments, **options)
    before = copy.deepcopy(found)
    for others_arguments, others_options in others:
        engines.gpu.search(*others_arguments, **others_options)
    assert_same(before, found)


def test_reads_items_that_were_added_later(engines: Engines, typed: Retriever, trie: SemanticIdTrie) -> None:
    vectors_ND = typed.item_vectors(random_catalogue(trie)).cpu().numpy()
    both = engines.with_vectors(np.concatenate([vectors_ND, vectors_ND[:ADDED][::-1]]))
    for arguments, options in requests(trie, places=ITEMS + ADDED):
        assert_same(both.cpu.search(*arguments, **options), both.gpu.search(*arguments, **options))


def test_threads_may_search_at_once(engines: Engines, trie: SemanticIdTrie) -> None:
    """Also while other threads capture graphs: each seed meets the same new shapes."""
    asked = [request for seed in range(4) for request in requests(trie, seed=seed)]
    expected = [engines.cpu.search(*arguments, **options) for arguments, options in asked]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda request: engines.gpu.search(*request[0], **request[1]), asked))
    for one, other in zip(expected, found, strict=True):
        assert_same(one, other)


def test_keeps_a_bounded_number_of_graphs(
    engines: Engines, trie: SemanticIdTrie, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_graphs, "KEPT_GRAPHS", 2)
    for _ in range(2):
        for arguments, options in requests(trie):
            assert_same(engines.cpu.search(*arguments, **options), engines.gpu.search(*arguments, **options))
    assert engines.gpu._graphs is not None
    assert len(engines.gpu._graphs._graphs) == 2
