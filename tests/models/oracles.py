"""Slow and obvious counterparts of what models/ does fast."""

import torch
from torch import Tensor

from models.retriever import CatalogueTensors, Retriever
from models.trie import SemanticIdTrie


def exhaustive_log_probs(retriever: Retriever, trie: SemanticIdTrie, history_T: Tensor) -> Tensor:
    """log p(item | history) of every leaf, shape (N,), by teacher forcing each one."""
    catalogue = CatalogueTensors.of(trie, torch.device("cpu"))
    with torch.no_grad():
        items_1TD = retriever.items(catalogue.codes_NL[history_T]).unsqueeze(0)
        state_D = retriever.history(items_1TD)[0, -1]
        leaves_N = torch.arange(trie.num_leaves)
        return retriever.log_probs(state_D.expand(trie.num_leaves, -1), leaves_N, catalogue).sum(1)
