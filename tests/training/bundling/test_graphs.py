import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.golden import golden_faults, record_golden
from rqrec.models.bundle.layout import SEARCH_GRAPH, TOKENIZER_GRAPH
from rqrec.models.search.exporting import export
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.bundling.graphs import write_graphs
from rqrec.training.retrain.grown_model import bundle_retriever
from rqrec.training.serving_recommender import make_recommender


@pytest.mark.parametrize("answers", ["recorded", "others"])
def test_a_retraining_exports_the_graphs_only_if_they_do_not_give_the_recorded_answers(
    answers: str, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    retriever, popularity_R = bundle_retriever(bundle), bundle.learned.popularity_R
    trie = SemanticIdTrie.build(bundle.learned.codes_RL, codebook_size=bundle.manifest.codebook_size)
    with torch.no_grad():
        retriever.query.weight.normal_()
    model = (retriever, trie, bundle.learned.vectors_RD, popularity_R)
    golden = record_golden(make_recommender(*model), popularity_R)
    if answers == "others":
        golden = record_golden(make_recommender(bundle_retriever(bundle), *model[1:]), popularity_R)
    exported: list[str] = []
    caplog.set_level(logging.INFO, logger="rqrec")
    monkeypatch.setattr(export, "export_tokenizer", lambda _rqvae, path: exported.append(path.name))
    monkeypatch.setattr(export, "export_search", lambda _model, _trie, path, **_half: exported.append(path.name))
    write_graphs(
        tmp_path,
        SimpleNamespace(retriever=retriever, tokenizer=None),  # type: ignore[arg-type]
        trie,
        half_precision=False,
        parent=bundle,
        faults=lambda graph: golden_faults(make_recommender(*model, graph=graph), golden),
    )
    assert exported == ([TOKENIZER_GRAPH, SEARCH_GRAPH] if answers == "others" else [])
    assert ("exported anew" in caplog.text) == (answers == "others")
    assert (tmp_path / TOKENIZER_GRAPH).read_bytes() == (bundle.path / TOKENIZER_GRAPH).read_bytes()
