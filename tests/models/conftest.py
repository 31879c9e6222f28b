import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models.exhaustive import exhaustive_log_probs
from models.retriever import CatalogueTensors, Retriever, RetrieverConfig
from models.trie import SemanticIdTrie


def random_codes(rng: np.random.Generator, *, items: int, levels: int, codebook_size: int) -> NDArray[np.int64]:
    """Distinct semantic IDs in random order."""
    keys = rng.choice(codebook_size**levels, size=items, replace=False)
    return np.stack(np.unravel_index(keys, (codebook_size,) * levels), axis=1)


def random_retriever(trie: SemanticIdTrie, *, seed: int = 0, max_history: int = 6) -> Retriever:
    """Untrained, with weights large enough that no two items are equally likely."""
    torch.manual_seed(seed)
    config = RetrieverConfig(
        num_levels=trie.num_levels,
        codebook_size=trie.codebook_size,
        width=8,
        num_heads=2,
        ff_width=16,
        encoder_layers=2,
        decoder_layers=2,
        max_history=max_history,
        dropout=0.0,
    )
    model = Retriever(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return model


def exhaustive_scores(retriever: Retriever, trie: SemanticIdTrie, history_T: NDArray[np.int64]) -> NDArray[np.float32]:
    """log p(item | history) of every leaf, shape (N,)."""
    catalogue = CatalogueTensors.of(trie, torch.device("cpu"))
    return np.asarray(exhaustive_log_probs(retriever, catalogue, history_T).sum(1))


@pytest.fixture
def trie() -> SemanticIdTrie:
    codes_NL = random_codes(np.random.default_rng(0), items=40, levels=3, codebook_size=5)
    return SemanticIdTrie.build(codes_NL, codebook_size=5)


@pytest.fixture
def retriever(trie: SemanticIdTrie) -> Retriever:
    return random_retriever(trie)
