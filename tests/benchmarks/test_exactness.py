from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.exactness import TOLERANCE, measure, real_histories
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.layout import SEARCH_GRAPH
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.exhaustive import ExhaustiveScorer
from rqrec.models.search.exporting.graph_weights import replace_weights
from rqrec.models.search.onnx_engine import OnnxEngine
from rqrec.models.search.recommender import Recommender
from rqrec.models.search.torch_engine import TorchEngine
from rqrec.models.trie.semantic_ids import append_collision_codes
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.data.sources import load_dataset
from rqrec.training.data.splits import user_sequences

CPU = torch.device("cpu")
DATA = Path(__file__).parents[2] / "artifacts" / "data"
ENDS = (5, 10, 20)


def test_search_and_exhaustive_scoring_agree_on_a_trained_bundle(bundle: Bundle, shop: Path, tmp_path: Path) -> None:
    histories = real_histories(str(shop), bundle, data_dir=tmp_path, limit=60)
    (narrow, wide), _ = measure(bundle, histories, k=10, beam_widths=(10, 64))
    assert wide.overlap == wide.identical == 1.0
    assert narrow.overlap > 0.7
    for one in (narrow, wide):
        assert max(one.log_prob_error, one.score_error, one.torch_error) < TOLERANCE
        assert one.torch_overlap > 0.99


def test_refuses_the_histories_of_another_data_set(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="must have the content of 'ml-100k', but it differs"):
        real_histories("ml-100k", bundle, data_dir=DATA, limit=1)


def test_engines_and_exhaustive_scoring_agree_over_thousands_of_real_histories(bundle: Bundle, tmp_path: Path) -> None:
    """With random weights in the bundle's graph, and random codes of the real items, of which many collide."""
    sequences = user_sequences(load_dataset("ml-100k", data_dir=DATA))
    config, codebook_size = bundle.manifest.retriever_config, bundle.manifest.codebook_size
    drawn_NL = np.random.default_rng(0).integers(codebook_size, size=(1682, config.num_levels - 1))
    trie = SemanticIdTrie.build(
        append_collision_codes(drawn_NL, codebook_size=codebook_size), codebook_size=codebook_size
    )
    torch.manual_seed(0)
    retriever = Retriever(config).eval()
    for weight in retriever.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    replace_weights(bundle.path / SEARCH_GRAPH, retriever, tmp_path / "search.onnx")
    item_vectors_ND = torch.randn(trie.num_leaves, config.vector_width)
    nothing_N = np.zeros(trie.num_leaves, dtype=np.int64)
    onnx, reference = (
        Recommender(engine, trie, max_history=config.max_history, popularity_N=nothing_N)
        for engine in (
            OnnxEngine(tmp_path / "search.onnx", trie, item_vectors_ND.numpy(), threads=2),
            TorchEngine(retriever, trie, item_vectors_ND, device=CPU),
        )
    )
    leaf_of_item_N = trie.leaf_of_row_N
    histories = [leaf_of_item_N[sequences[user][:end]] for user in range(len(sequences)) for end in ENDS]
    assert len(histories) == 943 * len(ENDS)
    ours, theirs = (
        engine.recommend(histories, k=10, beam_width=20, excluded=histories) for engine in (onnx, reference)
    )
    same = [np.array_equal(a.leaves_K, b.leaves_K) for a, b in zip(ours, theirs, strict=True)]
    assert np.mean(same) > 0.99  # neighbours whose scores differ by less than the tolerance may change places
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.scores_K, other.scores_K, atol=TOLERANCE)
    scorer = ExhaustiveScorer(retriever, trie, item_vectors_ND)
    for history, found in zip(histories[::30], ours[::30], strict=True):
        exact = scorer.score(history[-config.max_history :])
        np.testing.assert_allclose(found.log_probs_K, exact.log_probs_N[found.leaves_K], atol=TOLERANCE)
        np.testing.assert_allclose(found.scores_K, exact.scores_N[found.leaves_K], atol=TOLERANCE)
        exact.scores_N[history] = -np.inf
        (whole,) = onnx.recommend([history], k=10, beam_width=trie.num_leaves, excluded=[history])
        np.testing.assert_allclose(whole.scores_K, np.sort(exact.scores_N)[::-1][:10], atol=TOLERANCE)
