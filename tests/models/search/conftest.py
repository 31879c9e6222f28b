from pathlib import Path

import numpy as np
import pytest

from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.exporting.export import export_search
from rqrec.models.trie.trie import SemanticIdTrie
from tests.conftest import made_once
from tests.models.conftest import random_codes, random_retriever

CODEBOOK, LEVELS = 6, 4


@pytest.fixture(scope="session")
def typed_retriever() -> Retriever:
    """An untrained retriever that reads two event types, with four levels of six codes."""
    codes_NL = random_codes(np.random.default_rng(0), items=60, levels=LEVELS, codebook_size=CODEBOOK)
    return random_retriever(SemanticIdTrie.build(codes_NL, codebook_size=CODEBOOK), seed=1, num_event_types=2)


@pytest.fixture(scope="session")
def typed_graph(typed_retriever: Retriever, run_folder: Path) -> Path:
    """The search with this retriever. Traced with the least catalogue, it serves every other one as well."""
    folder = run_folder / "typed-graph"
    with made_once(folder):
        path = folder / "search.onnx"
        if not path.exists():
            trie = SemanticIdTrie.build(np.zeros((1, LEVELS), dtype=np.int64), codebook_size=CODEBOOK)
            export_search(typed_retriever, trie, path)
    return path
