"""A search that skips the beams with one leaf below them finds what the search that decodes every beam finds."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rqrec.models.array_types import IntArray
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.beam_search import BeamSearch
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.onnx_engine import OnnxEngine
from rqrec.models.search.open_beams import has_one_leaf
from rqrec.models.search.torch_engine import TorchEngine
from rqrec.models.trie.tensors import TrieTensors
from rqrec.models.trie.trie import SemanticIdTrie
from tests.models.conftest import CPU, random_codes
from tests.models.search.conftest import CODEBOOK

CATALOGUES = ("nowhere alone", "alone after two codes", "mixed", "one item")


def codes(kind: str) -> IntArray:
    if kind == "mixed":
        return random_codes(np.random.default_rng(0), items=60, levels=4, codebook_size=CODEBOOK)
    last = 2 if kind == "nowhere alone" else 1
    first = 1 if kind == "one item" else CODEBOOK
    grid = np.meshgrid(range(first), range(first), range(last), range(last), indexing="ij")
    return np.stack([axis.ravel() for axis in grid], axis=1).astype(np.int64)


@pytest.mark.parametrize("kind", CATALOGUES)
def test_the_skipped_beams_change_nothing(kind: str, typed_retriever: Retriever, typed_graph: Path) -> None:
    trie = SemanticIdTrie.build(codes(kind), codebook_size=CODEBOOK)
    rng = np.random.default_rng(1)
    vectors_ND = rng.normal(size=(trie.num_leaves, typed_retriever.config.vector_width)).astype(np.float32)
    every_beam, open_beams = (
        TorchEngine(typed_retriever, trie, torch.from_numpy(vectors_ND), device=CPU) for _ in range(2)
    )
    every_beam._beam_search = BeamSearch(typed_retriever, fixed_shapes=True).eval()
    engines = (open_beams, OnnxEngine(typed_graph, trie, vectors_ND))
    for share in (0, 0.5, 1):
        arguments = (
            rng.integers(0, trie.num_leaves, (5, 3)),
            np.array([1, 2, 3, 3, 3]),
            np.full((5, 1), -1),
            Eligibility.from_mask(trie, rng.random(trie.num_leaves) <= share),
        )
        expected = every_beam.search(*arguments, beam_width=7)
        for engine in engines:
            found = engine.search(*arguments, beam_width=7)
            np.testing.assert_array_equal(found.leaves_BK, expected.leaves_BK)
            np.testing.assert_allclose(found.log_probs_BK, expected.log_probs_BK, atol=1e-4)
            np.testing.assert_allclose(found.scores_BK, expected.scores_BK, atol=1e-4)


@pytest.mark.parametrize("kind", CATALOGUES)
def test_one_leaf_is_below_a_node_that_one_path_visits(kind: str) -> None:
    trie = SemanticIdTrie.build(codes(kind), codebook_size=CODEBOOK)
    for depth in range(trie.num_levels):
        nodes, visits = np.unique(trie.paths_LN[depth], return_counts=True)
        is_alone = has_one_leaf(TrieTensors.from_trie(trie), depth, torch.from_numpy(nodes.astype(np.int32)))
        np.testing.assert_array_equal(is_alone.numpy(), visits == 1)
