import pickle
from pathlib import Path

import pytest

from benchmarks.search import DefaultModel
from benchmarks.support.synthetic import CODEBOOK_SIZE, synthetic_codes
from rqrec.models.trie.trie import SemanticIdTrie
from tests.conftest import made_once


@pytest.fixture(scope="session")
def default_model(run_folder: Path) -> DefaultModel:
    """A model of the default configuration's size, whose graph serves every catalogue of four levels."""
    folder = run_folder / "default-model"
    with made_once(folder):
        file = folder / "model.pickle"
        if not file.exists():
            trie = SemanticIdTrie.build(synthetic_codes(200, seed=0), codebook_size=CODEBOOK_SIZE)
            file.write_bytes(pickle.dumps(DefaultModel(trie, folder)))
        model = pickle.loads(file.read_bytes())
    assert isinstance(model, DefaultModel)
    return model


@pytest.fixture
def no_export(default_model: DefaultModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the benchmarks of speed measure this model instead of exporting another of the same size."""
    for benchmark in ("search", "large.search"):
        monkeypatch.setattr(f"benchmarks.{benchmark}.DefaultModel", lambda _trie, _folder: default_model)
