"""The retriever: an RQ-Transformer that generates the semantic ID of the next item (Lee et al. 2022, arXiv 2203.01941).

Each history item is one vector. A causal encoder reads T item vectors. At every position a small code decoder generates
the L codes of the next item: p(item | history) = p(c_1 | h) p(c_2 | c_1, h) …. Each factor is a softmax over the valid
children in the trie, so p sums to one over the catalogue.

An encoder state also gives a query. The relevance of an item is the cosine of the query and the item's vector, divided
by a temperature. Generated items are ranked by score = log_prob + relevance_weight * relevance (Yang et al. 2024,
arXiv 2411.18814, join the two in the same way).

Shapes: B users, T history items, L levels, N items, E feature columns, D width, M positions, S sampled items,
X items of which the sample is made, with duplicates.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from rqrec.models.retriever.code_decoder import CodeDecoder
from rqrec.models.retriever.config import RetrieverConfig
from rqrec.models.retriever.history_encoder import HistoryEncoder
from rqrec.models.retriever.item_encoder import ItemEncoder
from rqrec.models.trie.lookup import take
from rqrec.models.trie.tensors import TriePaths, child_log_probs
from rqrec.models.trie.trie import SemanticIdTrie

PADDING = -1
LINEAR_STD, EMBEDDING_STD = 0.02, 0.1  # with 0.02 for embeddings, the model predicts only popularity for twice as long
ITEMS_PER_CHUNK = 65_536


class CatalogueTensors(NamedTuple):
    """The items of a catalogue as tensors for training. Entry n of a tensor belongs to leaf n of the trie.

    Attributes:
        paths: The semantic ID of each leaf, and the trie nodes on the path to it.
        features_NE: The features of each item, the same that the RQ-VAE reads, float32.
        rows_N: The row of each item in the item embedding table, int32.
        shares_N: The share of each item among all choices in the training data, float32 in [0, 1]. It corrects the
            relevance loss, because popular items are sampled more often.
    """

    paths: TriePaths
    features_NE: Tensor
    rows_N: Tensor
    shares_N: Tensor

    @property
    def prefixes_N(self) -> Tensor:
        """For each item of the catalogue, the number of its first two codes, int64; equal codes have equal numbers.

        It is the row of the item in the prefix embedding table of the item encoder. The number is that of the item's
        trie node at depth 2, or of its leaf if a semantic ID has fewer than 3 codes.
        """
        paths_NL = self.paths.paths_NL
        return paths_NL[:, 2] if paths_NL.shape[1] > 2 else torch.arange(len(paths_NL), device=paths_NL.device)

    @classmethod
    def from_trie(
        cls,
        trie: SemanticIdTrie,
        features_NE: NDArray[np.float32],
        popularity_N: NDArray[np.integer],
        device: torch.device,
    ) -> "CatalogueTensors":
        """Makes the tensors of a catalogue on a device, sorted in the order of the leaves.

        Args:
            trie: The trie of the catalogue, built from an array with one row per item.
            features_NE: The features of each item, in the row order of that array.
            popularity_N: How often users chose each item in the training data, in the row order of that array.
            device: The device of the tensors.
        """
        rows_N = trie.row_of_leaf_N
        shares_N = popularity_N[rows_N] / np.float32(max(popularity_N.sum(), 1))
        arrays = (features_NE[rows_N], rows_N, shares_N.astype(np.float32))
        return cls(TriePaths.from_trie(trie).to(device), *(torch.from_numpy(array).to(device) for array in arrays))


class SampledItems(NamedTuple):
    """A sample of S items of the catalogue, over which the relevance loss computes its softmax.

    Attributes:
        leaves_S: The leaves of the sampled items, distinct and ascending, int64.
        log_drawn_S: For each of these leaves, the natural logarithm of the estimated probability that a sample contains
            it, float32. The loss subtracts it from the relevance, so that its softmax over the sample estimates the
            softmax over all items.
    """

    leaves_S: Tensor
    log_drawn_S: Tensor

    @classmethod
    def from_batch(cls, items_X: Tensor, catalogue: CatalogueTensors, *, targets: int, draws: int) -> "SampledItems":
        """Makes the sample of one training step: all items of the batch and items drawn uniformly from the catalogue.

        Args:
            items_X: The leaves of all items that the step reads or predicts, and the leaves that were drawn uniformly;
                int64, in any order, with or without duplicates.
            catalogue: The catalogue.
            targets: How many items the step predicts. This and `draws` give the probabilities in `log_drawn_S`.
            draws: How many leaves were drawn uniformly.
        """
        leaves_S = items_X.unique()
        shares_S, num_items = catalogue.shares_N[leaves_S], len(catalogue.shares_N)
        # A target is an item with the probability of its share. With log_drawn_S subtracted from the relevance, the
        # softmax over the sample estimates the softmax over the catalogue (Yi et al. 2019).
        missed_S = targets * torch.log1p(-shares_S.clamp_max(0.5)) + draws * math.log1p(-1 / (num_items + 1))
        return cls(leaves_S, torch.log(-torch.expm1(missed_S)).clamp_min(math.log(torch.finfo(torch.float32).tiny)))


class RetrieverOutput(NamedTuple):
    """The losses of a batch in nats, as (weighted) means over the predicted items.

    Attributes:
        loss: The loss to minimise: generation_loss + relevance_loss, a scalar.
        generation_loss: The mean of -log p(next item | history), a scalar without gradient.
        relevance_loss: The cross-entropy of the next item in a softmax of the relevance of all sampled items, a scalar
            without gradient.
        level_losses_L: The part of generation_loss that comes from each level, shape (L,), without gradient.
    """

    loss: Tensor
    generation_loss: Tensor
    relevance_loss: Tensor
    level_losses_L: Tensor


class Retriever(nn.Module):
    """The complete model: an item encoder, a history encoder and a code decoder. `forward` computes its training loss.

    Args:
        config: The configuration of the retriever.
    """

    def __init__(self, config: RetrieverConfig) -> None:
        super().__init__()
        self.config = config
        self.items = ItemEncoder(config)
        self.history = HistoryEncoder(config)
        self.decoder = CodeDecoder(config)
        self.query = nn.Linear(config.width, config.width, bias=False)
        self.apply(_initialise)
        nn.init.eye_(self.query.weight)
        if self.items.prefixes is not None:
            nn.init.zeros_(self.items.prefixes.weight)
        if self.history.types is not None:
            nn.init.zeros_(self.history.types.weight)

    def forward(
        self,
        history_BT: Tensor,
        targets_BT: Tensor,
        sampled: SampledItems,
        catalogue: CatalogueTensors,
        weights_BT: Tensor | None = None,
        types_BT: Tensor | None = None,
    ) -> RetrieverOutput:
        """Computes the losses of predicting the next item at all positions of B histories in one pass.

        Args:
            history_BT: The leaves of the history items of B users, oldest first, int64, padded at the end with -1;
                T <= max_history.
            targets_BT: For each position, the leaf of the item to predict, int64; -1 for a position without a target.
            sampled: The items among which the relevance loss looks for the next item: all items of history_BT and
                targets_BT, and random others. Only these items are encoded.
            catalogue: The catalogue that has these leaves.
            weights_BT: The weight of each target in the losses, float32; None if all targets have equal weights.
            types_BT: The event type of each history item, int64, 0 for unknown; None if all are unknown.
        """
        is_target_BT = targets_BT != PADDING
        targets_M = targets_BT[is_target_BT]
        # Every sampled item is encoded once, and its relevance is computed for every position.
        vectors_SD = self.encode(sampled.leaves_S, catalogue)
        rows_BT = torch.searchsorted(sampled.leaves_S, history_BT.clamp_min(sampled.leaves_S[0]))
        states_MD = self.history(self.history.typed(vectors_SD[rows_BT], types_BT))[is_target_BT]
        relevance_MS = self.relevance(states_MD, vectors_SD) - sampled.log_drawn_S
        targets_in_sample_M = torch.searchsorted(sampled.leaves_S, targets_M)
        generating_MD = _scale_gradient(states_MD, self.config.generation_gradient)
        log_probs_ML = self.log_probs(generating_MD, targets_M, catalogue.paths)
        if weights_BT is None:
            relevance_loss = F.cross_entropy(relevance_MS.float(), targets_in_sample_M)
            level_losses_L = -log_probs_ML.mean(0)
        else:
            weights_M = weights_BT[is_target_BT] / weights_BT[is_target_BT].sum()
            losses_M = F.cross_entropy(relevance_MS.float(), targets_in_sample_M, reduction="none")
            relevance_loss = weights_M @ losses_M
            level_losses_L = -(weights_M @ log_probs_ML)
        generation_loss = level_losses_L.sum()
        return RetrieverOutput(
            generation_loss + relevance_loss,
            generation_loss.detach(),
            relevance_loss.detach(),
            level_losses_L.detach(),
        )

    def encode(self, leaves_S: Tensor, catalogue: CatalogueTensors) -> Tensor:
        """Computes the vectors of some items of the catalogue.

        Args:
            leaves_S: The leaves of the items, integer.
            catalogue: The catalogue.

        Returns:
            Item vectors of shape (S, D).
        """
        arrays = (catalogue.paths.codes_NL, catalogue.prefixes_N, catalogue.features_NE, catalogue.rows_N)
        return torch.as_tensor(self.items(*(array[leaves_S] for array in arrays)))

    @torch.no_grad()
    def item_vectors(self, catalogue: CatalogueTensors) -> Tensor:
        """Computes the vectors of all items, in the order of the leaves, without gradient. Returns shape (N, D)."""
        leaves_N = torch.arange(len(catalogue.rows_N), device=catalogue.rows_N.device)
        return torch.cat([self.encode(leaves, catalogue) for leaves in leaves_N.split(ITEMS_PER_CHUNK)])

    def relevance(self, states_MD: Tensor, vectors_SD: Tensor) -> Tensor:
        """Computes the relevance of each item for each state: cosine of query and item vector, divided by temperature.

        Args:
            states_MD: M states of the history encoder, of width D.
            vectors_SD: The vectors of S items, of width D.

        Returns:
            The relevance, shape (M, S), in [-1 / temperature, 1 / temperature].
        """
        queries_MD = F.normalize(self.query(states_MD), dim=-1) / self.config.temperature
        return queries_MD @ F.normalize(vectors_SD, dim=-1).T

    def weighted_queries(self, states_BD: Tensor) -> Tensor:
        """Computes the query of each user, scaled so that its dot products are relevance_weight * relevance.

        Args:
            states_BD: The state of the history encoder for each of B users, of width D.

        Returns:
            Queries of shape (B, D). The dot product is to be taken with an item vector at unit length.
        """
        return F.normalize(self.query(states_BD), dim=-1) * (self.config.relevance_weight / self.config.temperature)

    def rerank(self, queries_BD: Tensor, vectors_RD: Tensor, log_probs_BK: Tensor) -> Tensor:
        """Computes the scores by which candidates are ranked: log_prob + relevance_weight * relevance.

        Args:
            queries_BD: The query of each of B users, from `weighted_queries`.
            vectors_RD: The item vectors of K candidates per user, one user after the other, shape (B K, D).
            log_probs_BK: The natural log-probabilities of the candidates, float32.

        Returns:
            Scores of shape (B, K), float32.
        """
        vectors_BKD = F.normalize(vectors_RD, dim=-1).view(*log_probs_BK.shape, -1)
        return log_probs_BK + (queries_BD.unsqueeze(1) @ vectors_BKD.transpose(1, 2)).squeeze(1).float()

    def log_probs(self, states_MD: Tensor, leaves_M: Tensor, paths: TriePaths) -> Tensor:
        """Computes the natural log-probability of one given item for each state, level by level.

        Args:
            states_MD: M states of the history encoder, of width D.
            leaves_M: The leaf of the given item for each state, int64.
            paths: The semantic ID of each leaf of the catalogue's trie, and the nodes on the path to it.

        Returns:
            Log-probabilities of shape (M, L), float32. Their sum over the L levels is log p(item | history).
        """
        codes_ML, paths_ML = paths.codes_NL[leaves_M], paths.paths_NL[leaves_M]
        chosen_ML = torch.cat([paths_ML[:, 1:], leaves_M.unsqueeze(1)], dim=1)
        levels = []
        for depth, logits_MV in enumerate(self.decoder(states_MD, codes_ML)):
            nodes_M = paths_ML[:, depth]
            _, log_probs_MF = child_log_probs(paths.trie, depth, nodes_M, logits_MV)
            slot_M = chosen_ML[:, depth] - take(paths.trie.first_child[depth], nodes_M)
            levels.append(log_probs_MF.gather(1, slot_M.unsqueeze(1)).squeeze(1))
        return torch.stack(levels, dim=1)


def _scale_gradient(x: Tensor, share: float) -> Tensor:
    """Returns the input unchanged and passes only a share of its gradient on."""
    return x if share == 1 else x.detach() + share * (x - x.detach())


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=EMBEDDING_STD)
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=LINEAR_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
