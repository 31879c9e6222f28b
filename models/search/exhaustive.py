"""Exhaustive scoring of all items: a slow reference, with which tests compare the beam search.

Shapes: N leaves, L levels, T history items, D width.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rqrec.models.array_types import IntArray
from rqrec.models.retriever.retriever import Retriever
from rqrec.models.trie.tensors import TriePaths
from rqrec.models.trie.trie import SemanticIdTrie


class ExhaustiveScores(NamedTuple):
    """The scores of every item of the catalogue for one history, in the order of the leaves of the trie.

    Attributes:
        log_probs_NL: The natural log-probability of the item's code at each level, given the history and the codes of
            earlier levels.
        scores_N: The score of each item (see `Retriever.weighted_relevance`).
    """

    log_probs_NL: NDArray[np.float32]
    scores_N: NDArray[np.float32]

    @property
    def log_probs_N(self) -> NDArray[np.float32]:
        """The natural log-probability of each item, log p(item | history), in the order of the leaves."""
        return np.asarray(self.log_probs_NL.sum(axis=1))


class ExhaustiveScorer:
    """Computes the score of every item of the catalogue for a history, without a search.

    Args:
        retriever: A retriever in evaluation mode.
        trie: The catalogue's trie.
        item_vectors_ND: The vector of each item in the order of the leaves, from `Retriever.item_vectors`.
    """

    def __init__(self, retriever: Retriever, trie: SemanticIdTrie, item_vectors_ND: Tensor) -> None:
        self._retriever = retriever
        self._item_vectors_ND = item_vectors_ND
        self._paths = TriePaths.from_trie(trie).to(item_vectors_ND.device)

    @torch.inference_mode()
    def score(self, history_T: IntArray) -> ExhaustiveScores:
        """Computes the scores of all items for one history, given as the leaves of its items, oldest first, int64."""
        vectors_ND, retriever = self._item_vectors_ND, self._retriever
        history_1TD = vectors_ND[torch.from_numpy(history_T).to(vectors_ND.device)].unsqueeze(0)
        items_1TD, embeddings_1TF, long_term_1TH = history_1TD.split(retriever.config.part_widths, dim=2)
        short_term_1F, long_term_1H = None, None
        if retriever.short_term is not None:
            short_term_1F = retriever.short_term.encode(embeddings_1TF)[:, -1]
        if retriever.long_term is not None:
            lengths_1 = torch.tensor([len(history_T)], device=vectors_ND.device)
            long_term_1H = retriever.long_term.query(long_term_1TH.flatten(0, 1), lengths_1, len(history_T))
        state_1D = retriever.history(items_1TD)[:, -1]
        leaves_N = torch.arange(len(vectors_ND), device=vectors_ND.device)
        log_probs_NL = retriever.log_probs(state_1D.expand(len(leaves_N), -1), leaves_N, self._paths)
        queries_1D = retriever.weighted_queries(state_1D, short_term_1F, long_term_1H)
        scores_N = log_probs_NL.sum(1) + retriever.weighted_relevance(queries_1D, vectors_ND.unsqueeze(0))[0]
        return ExhaustiveScores(log_probs_NL.cpu().numpy(), scores_N.cpu().numpy())
