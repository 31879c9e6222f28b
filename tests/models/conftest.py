import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rqrec.models.retriever.catalogue_tensors import CatalogueTensors
from rqrec.models.retriever.config import LongTermConfig, RetrieverConfig, ShortTermConfig
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.search.exhaustive import ExhaustiveScorer, ExhaustiveScores
from rqrec.models.search.torch_engine import TorchEngine
from rqrec.models.trie.trie import SemanticIdTrie

CPU = torch.device("cpu")
FEATURE_DIM = 5


def random_codes(rng: np.random.Generator, *, items: int, levels: int, codebook_size: int) -> NDArray[np.int64]:
    """Distinct semantic IDs in random order."""
    keys = rng.choice(codebook_size**levels, size=items, replace=False)
    return np.stack(np.unravel_index(keys, (codebook_size,) * levels), axis=1)


def random_short_term_config(num_items: int, *, width: int = 6, max_history: int = 6) -> ShortTermConfig:
    """With a filter that is shorter than the longest history."""
    return ShortTermConfig(
        num_items=num_items,
        width=width,
        layers=2,
        taps=3,
        filters=2,
        dropout=0.0,
        max_history=max_history,
        temperature=0.4,
    )


def random_retriever(
    trie: SemanticIdTrie,
    *,
    seed: int = 0,
    max_history: int = 6,
    generation_gradient: float = 1.0,
    num_event_types: int = 0,
    short_term_width: int = 6,
    long_term_width: int = 3,
) -> Retriever:
    """Untrained, with weights large enough that no two items are equally likely."""
    torch.manual_seed(seed)
    short_term = random_short_term_config(trie.num_leaves, width=short_term_width, max_history=max_history)
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
        decoder_dropout=0.0,
        generation_gradient=generation_gradient,
        feature_dim=FEATURE_DIM,
        feature_dropout=0.0,
        num_items=trie.num_leaves,
        num_prefixes=len(trie.child_code[1]) if trie.num_levels > 1 else 0,
        temperature=0.5,
        relevance_weight=1.0,
        num_event_types=num_event_types,
        short_term=short_term if short_term_width else None,
        long_term=LongTermConfig(trie.num_leaves, long_term_width) if long_term_width else None,
    )
    model = Retriever(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
        if model.long_term is not None:
            model.long_term.items.weight /= model.long_term.items.weight.norm(dim=1).max()
    return model


def random_catalogue(trie: SemanticIdTrie, device: torch.device = CPU) -> CatalogueTensors:
    """The trie's items with random features, each chosen once."""
    features_NE = np.random.default_rng(1).normal(size=(trie.num_leaves, FEATURE_DIM)).astype(np.float32)
    return CatalogueTensors.from_trie(trie, features_NE, np.ones(trie.num_leaves, dtype=np.int64), device)


def random_engine(retriever: Retriever, trie: SemanticIdTrie) -> TorchEngine:
    return TorchEngine(retriever, trie, retriever.item_vectors(random_catalogue(trie)), device=CPU)


def score_every_item(retriever: Retriever, trie: SemanticIdTrie, history_T: NDArray[np.int64]) -> ExhaustiveScores:
    vectors_ND = retriever.item_vectors(random_catalogue(trie))
    return ExhaustiveScorer(retriever, trie, vectors_ND).score(history_T)


def grouped_vectors(count: int, *, seed: int = 0, width: int = 16, groups: int = 40) -> NDArray[np.float32]:
    """Vectors around a few centres, which are the same for every seed."""
    rng = np.random.default_rng(seed)
    centres_GD = np.random.default_rng(9).normal(size=(groups, width))
    return (centres_GD[rng.integers(groups, size=count)] + rng.normal(scale=0.3, size=(count, width))).astype(
        np.float32
    )


@pytest.fixture
def trie() -> SemanticIdTrie:
    codes_NL = random_codes(np.random.default_rng(0), items=40, levels=3, codebook_size=5)
    return SemanticIdTrie.build(codes_NL, codebook_size=5)


@pytest.fixture
def retriever(trie: SemanticIdTrie) -> Retriever:
    return random_retriever(trie)
