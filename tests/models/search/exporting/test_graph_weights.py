from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from safetensors.torch import load_file

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.layout import RETRIEVER_WEIGHTS, SEARCH_GRAPH
from rqrec.models.retriever.config import RetrieverConfig
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.exporting import graph_weights
from rqrec.models.search.exporting.graph_weights import PREFIX, OtherOrigin, replace_weights
from rqrec.models.search.onnx_engine import OnnxEngine
from rqrec.models.search.torch_engine import TorchEngine
from rqrec.models.trie.trie import SemanticIdTrie

TABLES = ("items.", "short_term.items.")  # item vectors are inputs of the graph


def larger(config: RetrieverConfig) -> RetrieverConfig:
    """The configuration of a model with more items."""
    assert config.short_term is not None
    short_term = replace(config.short_term, num_items=config.short_term.num_items + 7)
    return replace(config, num_items=config.num_items + 7, num_prefixes=config.num_prefixes + 3, short_term=short_term)


def test_replaced_weights_give_the_answers_of_their_retriever_and_the_bytes_of_an_export(
    bundle: Bundle, tmp_path: Path
) -> None:
    config, exported = bundle.manifest.retriever_config, bundle.path / SEARCH_GRAPH
    torch.manual_seed(1)
    other = Retriever(larger(config)).eval()  # many of its weights are 0 or 1, which an exporter could merge
    replace_weights(exported, other, tmp_path / "other.onnx")
    weights = {PREFIX + name for name in other.state_dict() if not name.startswith(TABLES)}
    assert {name for name in ir.load(exported).graph.initializers if name.startswith(PREFIX)} == weights

    trie = SemanticIdTrie.build(bundle.learned.codes_RL, codebook_size=config.codebook_size)
    vectors_ND, rng = bundle.learned.vectors_RD[trie.row_of_leaf_N], np.random.default_rng(0)
    history_BT, lengths_B = rng.integers(0, trie.num_leaves, (6, 8)), np.array([8, 1, 3, 8, 5, 2])
    request = history_BT, lengths_B, np.full((6, 1), -1), Eligibility.everything(trie)
    expected = TorchEngine(other, trie, torch.from_numpy(vectors_ND), device=torch.device("cpu"))
    found, of_torch = (
        one.search(*request, beam_width=16) for one in (OnnxEngine(tmp_path / "other.onnx", trie, vectors_ND), expected)
    )
    assert (found.leaves_BK == of_torch.leaves_BK).all()
    np.testing.assert_allclose(found.scores_BK, of_torch.scores_BK, atol=1e-4)

    first = Retriever(config)
    first.load_state_dict(load_file(bundle.path / RETRIEVER_WEIGHTS))
    replace_weights(tmp_path / "other.onnx", first, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == exported.read_bytes()


@pytest.mark.parametrize("changed", ["sizes", "precision", "programs", "code"])
def test_a_graph_that_an_export_might_make_otherwise_is_refused(
    changed: str, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, half = bundle.manifest.retriever_config, changed == "precision"
    if changed == "sizes":
        config = replace(config, relevance_weight=config.relevance_weight + 1)
    elif changed == "programs":
        monkeypatch.setattr(graph_weights, "version", lambda _name: "99")
    elif changed == "code":
        (tmp_path / "beam_search.py").touch()
        monkeypatch.setattr(graph_weights, "SOURCES", tmp_path)
    with pytest.raises(OtherOrigin, match=SEARCH_GRAPH):
        replace_weights(bundle.path / SEARCH_GRAPH, Retriever(config), tmp_path / "new.onnx", half=half)
    assert not (tmp_path / "new.onnx").exists()
