"""Slow and obvious counterparts of what models/ does fast."""

import numpy as np
import torch
from numpy.typing import NDArray

from models.retriever import CatalogueTensors, Retriever
from models.trie import SemanticIdTrie


def exhaustive_level_log_probs(
    retriever: Retriever, trie: SemanticIdTrie, history_T: NDArray[np.int64]
) -> NDArray[np.float32]:
    """log p of every leaf's codes, level by level, shape (N, L), by teacher forcing each leaf."""
    catalogue = CatalogueTensors.of(trie, torch.device("cpu"))
    with torch.no_grad():
        items_1TD = retriever.items(catalogue.codes_NL[torch.from_numpy(history_T)]).unsqueeze(0)
        state_D = retriever.history(items_1TD)[0, -1]
        leaves_N = torch.arange(trie.num_leaves)
        log_probs_NL = retriever.log_probs(state_D.expand(trie.num_leaves, -1), leaves_N, catalogue)
    return np.asarray(log_probs_NL.numpy())


def exhaustive_log_probs(
    retriever: Retriever, trie: SemanticIdTrie, history_T: NDArray[np.int64]
) -> NDArray[np.float32]:
    """log p(item | history) of every leaf, shape (N,)."""
    return np.asarray(exhaustive_level_log_probs(retriever, trie, history_T).sum(1))
