import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from rqrec.models.array_types import IntArray
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.layout import (
    HALF_SEARCH_GRAPH,
    RETRIEVER_WEIGHTS,
    SEARCH_GRAPH,
    TOKENIZER_GRAPH,
    TOKENIZER_WEIGHTS,
)
from rqrec.models.onnx_session import CPU_PROVIDER, cuda_is_available, open_session
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.exporting.export import export_search
from rqrec.models.search.gpu.buckets import pad_to_bucket
from rqrec.models.search.history.transitions import KEPT, Following, Transitions
from rqrec.models.search.onnx_engine import OnnxEngine, catalogue_inputs, request_inputs
from rqrec.models.search.padding import pad
from rqrec.models.search.ranking import SearchOutput
from rqrec.models.search.torch_engine import load_torch_engine
from rqrec.models.tokenizer.config import RqVaeConfig
from rqrec.models.tokenizer.rqvae import RqVae
from rqrec.models.trie.trie import SemanticIdTrie
from tests.models.conftest import random_catalogue, random_codes, random_engine
from tests.models.search.conftest import CODEBOOK, LEVELS
from tests.text_encoders import with_text_encoder

TOLERANCE, HALF_TOLERANCE = 1e-4, 5e-2  # of a natural log-probability
HALF_SCORE_TOLERANCE = 1.0  # a score contains a cosine times about a hundred
NONE = np.empty(0, dtype=np.int64)
NOTHING_EXCLUDED = np.array([[-1]])
SERVE_WITHOUT_TORCH = """
import asyncio
import sys
from pathlib import Path

# None makes every import of the name fail as if it were not installed.
sys.modules.update(dict.fromkeys(("torch", "transformers", "sentence_transformers", "safetensors", "sklearn", "gin")))
from fastapi.testclient import TestClient
from rqrec.service.app import create_app
from rqrec.service.settings import Settings

with TestClient(create_app(Settings(bundle=Path(sys.argv[1])))) as client:
    reply = client.post("/recommend", json={"history": ["100"], "k": 3})
    assert len(reply.json()["items"]) == 3, reply.text
    model = client.app.state.runtime.deployment.active
    item = asyncio.run(model.tokenise("new", {"title": "A new film"}, None))
    assert len(item.codes) == 3, item
"""


@pytest.fixture(scope="module")
def trie(bundle: Bundle) -> SemanticIdTrie:
    return SemanticIdTrie.build(bundle.learned.codes_RL, codebook_size=bundle.manifest.codebook_size)


@pytest.fixture(scope="module")
def graphs(bundle: Bundle, trie: SemanticIdTrie, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The bundle's search, and the same in half precision."""
    retriever = Retriever(bundle.manifest.retriever_config)
    retriever.load_state_dict(load_file(bundle.path / RETRIEVER_WEIGHTS))
    half = tmp_path_factory.mktemp("half") / HALF_SEARCH_GRAPH
    export_search(retriever.eval(), trie, half, half=True)
    return {SEARCH_GRAPH: bundle.path / SEARCH_GRAPH, HALF_SEARCH_GRAPH: half}


def item_vectors(bundle: Bundle, trie: SemanticIdTrie) -> NDArray[np.float32]:
    return bundle.learned.vectors_RD[trie.row_of_leaf_N]


def test_finds_what_torch_finds(bundle: Bundle, trie: SemanticIdTrie) -> None:
    rng = np.random.default_rng(0)
    pairs_P = np.concatenate([rng.permutation(64)[:KEPT] for _ in range(64)]).astype(np.int32)
    first_P, in_session_P = (rng.random(len(pairs_P), dtype=np.float32) for _ in range(2))
    table = Transitions(np.arange(65) * KEPT, pairs_P, first_P, in_session_P)
    following = Following(table, weight=3.0)
    vectors_ND, config = item_vectors(bundle, trie), bundle.manifest.retriever
    onnx = OnnxEngine(bundle.path / SEARCH_GRAPH, trie, vectors_ND, threads=2, following=following)
    reference = load_torch_engine(bundle.path / RETRIEVER_WEIGHTS, config, trie, vectors_ND, "cpu", following=following)
    for users, beam in [(1, 1), (1, 20), (7, 5), (33, 64)]:
        histories = [rng.integers(0, 64, size=rng.integers(1, 9)) for _ in range(users)]
        is_eligible_N = rng.random(64) < 0.8
        excluded = [np.flatnonzero(is_eligible_N & (rng.random(64) < rng.random())) for _ in range(users)]
        lengths_B = np.array([len(history) for history in histories])
        arguments = (
            pad(histories, filler=0),
            lengths_B,
            pad(excluded, filler=-1),
            Eligibility.from_mask(trie, is_eligible_N),
        )
        in_session_B = np.arange(users, dtype=np.int32) % 2
        ours, theirs, without = (
            engine.search(*arguments, beam_width=beam, in_session_B=in_session)
            for engine, in_session in ((onnx, in_session_B), (reference, in_session_B), (onnx, None))
        )
        is_same_BK = np.isclose(ours.scores_BK, without.scores_BK, atol=TOLERANCE)
        assert np.all(is_same_BK[in_session_B == 0])
        assert users == 1 or not np.all(is_same_BK)
        for name in ("scores_BK", "strengths_BK", "offsets_B", "lowest_B"):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=TOLERANCE)
        assert ours.strengths_BK is not None
        assert np.any(ours.strengths_BK > 0)
        # Neighbours whose scores differ by less than the tolerance may change places.
        assert (ours.leaves_BK == theirs.leaves_BK).mean() > 0.99


def test_a_run_changes_no_result_of_another_run(bundle: Bundle, trie: SemanticIdTrie) -> None:
    everything, first_half = (
        Eligibility.from_mask(trie, np.arange(trie.num_leaves) < most)
        for most in (trie.num_leaves, trie.num_leaves // 2)
    )
    histories_BT = np.array([[1, 2, 3], [7, 8, 9]])
    calls = [  # of equal and of other shapes, with equal and with other filters
        (histories_BT, everything, 20),
        (histories_BT[::-1].copy(), everything, 20),
        (histories_BT, first_half, 20),
        (histories_BT[:1], first_half, 5),
        (histories_BT, everything, 20),
    ]

    def found_by(engine: OnnxEngine, history_BT: IntArray, eligibility: Eligibility, beam_width: int) -> SearchOutput:
        users = len(history_BT)
        arguments = (history_BT, np.full(users, 3), np.full((users, 1), -1), eligibility)
        return engine.search(*arguments, beam_width=beam_width)

    engine = OnnxEngine(bundle.path / SEARCH_GRAPH, trie, item_vectors(bundle, trie))
    found = [found_by(engine, *call) for call in calls]
    with pytest.raises(RuntimeError):
        found_by(engine, np.full((2, 3), 10**6), everything, 20)
    found.append(found_by(engine, *calls[0]))
    for one, call in zip(found, [*calls, calls[0]], strict=True):
        fresh = found_by(OnnxEngine(bundle.path / SEARCH_GRAPH, trie, item_vectors(bundle, trie)), *call)
        np.testing.assert_array_equal(one.leaves_BK, fresh.leaves_BK)
        np.testing.assert_array_equal(one.scores_BK, fresh.scores_BK)


def test_padding_to_a_bucket_changes_no_answer(bundle: Bundle, trie: SemanticIdTrie) -> None:
    catalogue = catalogue_inputs(trie, item_vectors(bundle, trie))
    session = open_session(bundle.path / SEARCH_GRAPH)
    histories, excluded = [np.array([1, 2, 3]), np.array([9]), np.array([4, 5])], [np.arange(30), np.array([9]), NONE]
    request = request_inputs(
        pad(histories, filler=0),
        np.array([3, 1, 2]),
        pad(excluded, filler=-1),
        Eligibility.everything(trie),
        beam_width=20,
    )
    padded = pad_to_bucket(request, max_history=bundle.manifest.max_history)
    assert padded["history_BT"].shape == (4, bundle.manifest.max_history)
    assert padded["excluded_BX"].shape == (4, 32)
    leaves_BK, *numbers = session.run(None, {**request, **catalogue})
    padded_leaves_BK, *padded_numbers = session.run(None, {**padded, **catalogue})
    assert (leaves_BK == padded_leaves_BK[:3]).all()
    for array, padded_array in zip(numbers, padded_numbers, strict=True):
        np.testing.assert_allclose(array, padded_array[:3], atol=TOLERANCE)


def test_half_precision_stays_close(bundle: Bundle, trie: SemanticIdTrie, graphs: dict[str, Path]) -> None:
    arguments = (np.array([[1, 2, 3]]), np.array([3]), NOTHING_EXCLUDED, Eligibility.everything(trie))
    exact, half = (
        OnnxEngine(graphs[name], trie, item_vectors(bundle, trie)).search(*arguments, beam_width=64)
        for name in (SEARCH_GRAPH, HALF_SEARCH_GRAPH)
    )
    for name, tolerance in (("log_probs_BK", HALF_TOLERANCE), ("scores_BK", HALF_SCORE_TOLERANCE)):
        values_N = np.empty(64)
        values_N[exact.leaves_BK[0, :64]] = getattr(exact, name)[0, :64]
        np.testing.assert_allclose(getattr(half, name)[0, :64], values_N[half.leaves_BK[0, :64]], atol=tolerance)


def test_tokenizer_graph_gives_the_codes_of_the_model(bundle: Bundle) -> None:
    model = RqVae(RqVaeConfig.from_fields(bundle.manifest.tokenizer)).eval()
    model.load_state_dict(load_file(bundle.path / TOKENIZER_WEIGHTS))
    features_NE = torch.randn(100, model.config.feature_dim)
    session = ort.InferenceSession(bundle.path / TOKENIZER_GRAPH, providers=[CPU_PROVIDER])
    (codes_NL,) = session.run(None, {"features_NE": features_NE.numpy()})
    assert (codes_NL == model.get_codebook_indices(features_NE).numpy()).mean() > 0.99


def test_serves_and_reads_texts_where_torch_cannot_be_imported(bundle: Bundle, tmp_path: Path) -> None:
    copy = with_text_encoder(bundle, tmp_path / "copy")
    command = [sys.executable, "-W", "ignore", "-c", SERVE_WITHOUT_TORCH, str(copy)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[3])


@pytest.mark.skipif(cuda_is_available(), reason="there is a GPU")
def test_asking_for_a_gpu_without_one_says_what_to_do(bundle: Bundle, trie: SemanticIdTrie) -> None:
    with pytest.raises(RuntimeError, match="install the gpu extra, or use the CPU"):
        OnnxEngine(bundle.path / SEARCH_GRAPH, trie, item_vectors(bundle, trie), cuda=True)


@pytest.mark.gpu
@pytest.mark.parametrize(("graph", "tolerance"), [(SEARCH_GRAPH, TOLERANCE), (HALF_SEARCH_GRAPH, HALF_TOLERANCE)])
def test_gpu_finds_what_the_cpu_finds(
    bundle: Bundle, trie: SemanticIdTrie, graphs: dict[str, Path], graph: str, tolerance: float
) -> None:
    arguments = (np.array([[1, 2, 3]]), np.array([3]), NOTHING_EXCLUDED, Eligibility.everything(trie))
    cpu, cuda = (
        OnnxEngine(graphs[name], trie, item_vectors(bundle, trie), cuda=on_gpu, max_history=8).search(
            *arguments, beam_width=64
        )
        for on_gpu, name in ((False, SEARCH_GRAPH), (True, graph))
    )
    values_N = np.empty(64)
    values_N[cpu.leaves_BK[0, :64]] = cpu.log_probs_BK[0, :64]
    np.testing.assert_allclose(cuda.log_probs_BK[0, :64], values_N[cuda.leaves_BK[0, :64]], atol=tolerance)


def test_a_typed_retriever_has_types_as_an_input_of_its_graph(typed_retriever: Retriever, typed_graph: Path) -> None:
    rng, retriever = np.random.default_rng(0), typed_retriever
    codes_NL = random_codes(rng, items=60, levels=LEVELS, codebook_size=CODEBOOK)
    trie = SemanticIdTrie.build(codes_NL, codebook_size=CODEBOOK)
    vectors_ND = retriever.item_vectors(random_catalogue(trie)).numpy()
    engine, torch_engine = OnnxEngine(typed_graph, trie, vectors_ND), random_engine(retriever, trie)
    history_BT, lengths_B, everything = (
        rng.integers(0, 60, (5, 4)),
        np.array([4, 1, 3, 2, 4]),
        Eligibility.everything(trie),
    )
    excluded_BX, types_BT = np.full((5, 1), -1), rng.integers(0, 3, (5, 4))
    answers = []
    for types in (types_BT, None, np.zeros_like(types_BT)):
        request = (history_BT, lengths_B, excluded_BX, everything)
        found, expected = (one.search(*request, beam_width=8, types_BT=types) for one in (engine, torch_engine))
        assert (found.leaves_BK == expected.leaves_BK).all()
        np.testing.assert_allclose(found.scores_BK, expected.scores_BK, atol=TOLERANCE)
        answers.append(found.scores_BK)
    assert not np.allclose(answers[0], answers[1])
    np.testing.assert_array_equal(answers[1], answers[2])
    padded = pad_to_bucket(
        {"types_BT": types_BT, "history_BT": history_BT, "lengths_B": lengths_B, "excluded_BX": excluded_BX},
        max_history=6,
    )
    assert padded["types_BT"].shape == padded["history_BT"].shape == (8, 6)
