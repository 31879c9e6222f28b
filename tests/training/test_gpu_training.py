"""The recipe trains on a GPU: in bfloat16 with the losses of a CPU, and what it publishes serves without a GPU."""

import numpy as np
import pytest
import torch

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.retriever.retriever import RetrieverOutput
from rqrec.models.retriever.sampled_items import SampledItems
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.onnx_engine import OnnxEngine
from rqrec.models.tokenizer.config import RqVaeConfig
from rqrec.models.tokenizer.rqvae import RqVae
from rqrec.models.trie.trie import SemanticIdTrie
from rqrec.training.evaluate import load_results
from rqrec.training.run import Run
from rqrec.training.runtime.device import autocast
from tests.models.conftest import random_catalogue, random_codes, random_retriever

pytestmark = pytest.mark.gpu

BF16_TOLERANCE = 0.03  # of a loss of several nats
DEVICES = [torch.device("cpu"), torch.device("cuda")]


def retriever_losses(device: torch.device) -> RetrieverOutput:
    codes_NL = random_codes(np.random.default_rng(0), items=40, levels=3, codebook_size=5)
    trie = SemanticIdTrie.build(codes_NL, codebook_size=5)
    retriever, catalogue = random_retriever(trie).train().to(device), random_catalogue(trie, device)
    history_BT = torch.randint(0, 40, (16, 6), generator=torch.Generator().manual_seed(0))
    history_BT, targets_BT = history_BT.to(device), history_BT.roll(1, 0).to(device)
    everything = torch.arange(40, device=device)
    sampled = SampledItems.from_batch(everything, catalogue.shares_N, targets=96, draws=40)
    with autocast(device, enabled=device.type == "cuda"):
        found: RetrieverOutput = retriever(history_BT, targets_BT, sampled, catalogue)
    found.loss.backward()
    assert all(one.grad is None or one.grad.isfinite().all() for one in retriever.parameters())
    return found


def test_the_retriever_has_a_cpus_losses_in_bfloat16() -> None:
    on_cpu, on_gpu = map(retriever_losses, DEVICES)
    assert on_gpu.generation_loss.item() == pytest.approx(on_cpu.generation_loss.item(), rel=BF16_TOLERANCE)
    assert on_gpu.relevance_loss.item() == pytest.approx(on_cpu.relevance_loss.item(), rel=BF16_TOLERANCE)


def test_the_tokenizer_gives_the_same_codes_on_both_devices(bundle: Bundle) -> None:
    features_NE = torch.randn(200, RqVaeConfig.from_fields(bundle.manifest.tokenizer).feature_dim)
    model = RqVae(RqVaeConfig.from_fields(bundle.manifest.tokenizer)).eval()
    on_cpu = model.get_codebook_indices(features_NE)
    on_gpu = model.to("cuda").get_codebook_indices(features_NE.to("cuda")).cpu()
    assert (on_cpu == on_gpu).float().mean() > 0.99


def test_a_model_from_a_gpu_knows_what_its_users_like(trained: Run) -> None:
    """A user likes one of four kinds of films; the most popular films hit a quarter as often."""
    results = load_results(trained.evaluation)
    assert results["rqrec"]["recall@10"] > 2 * results["popularity"]["recall@10"]


def test_a_model_from_a_gpu_serves_on_a_cpu(bundle: Bundle) -> None:
    trie = SemanticIdTrie.build(bundle.learned.codes_RL, codebook_size=bundle.manifest.codebook_size)
    engine = OnnxEngine(bundle.path / "search.onnx", trie, bundle.learned.vectors_RD[trie.row_of_leaf_N])
    history_BT, nothing = np.array([[1, 2, 3]]), np.full((1, 1), -1)
    found = engine.search(history_BT, np.array([3]), nothing, Eligibility.everything(trie), beam_width=10)
    assert np.isfinite(found.scores_BK[0, :10]).all()
