"""The retriever: an RQ-Transformer that generates the semantic ID of the next item (Lee et al. 2022, arXiv 2203.01941).

Each history item is one vector. A causal encoder reads T item vectors. At every position a small code decoder generates
the L codes of the next item: p(item | history) = p(c_1 | h) p(c_2 | c_1, h) …. Each factor is a softmax over the valid
children in the trie, so p sums to one over the catalogue.

An encoder state also gives a query. The relevance of an item is the cosine of the query and the item's vector, divided
by a temperature. Generated items are ranked by score = log_prob + relevance_weight * relevance (Yang et al. 2024,
arXiv 2411.18814, join the two in the same way). If there is a short-term encoder, the relevance in this score is a
weighted mean of this relevance and that of the short-term encoder. If there are long-term vectors, their part of the
score is added.

Shapes: B users, T history items, L levels, N items, E feature columns, D width, F width of the short-term encoder,
H width of the long-term vectors with their slack, W = D + F + H width of an item vector in the search (a part that the
retriever does not have is 0 wide), M positions, S sampled items, R = B T rows.
"""

import math
from dataclasses import replace
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rqrec.models.retriever.catalogue_tensors import CatalogueTensors
from rqrec.models.retriever.code_decoder import CodeDecoder
from rqrec.models.retriever.config import RetrieverConfig
from rqrec.models.retriever.history_encoder import HistoryEncoder
from rqrec.models.retriever.item_encoder import ItemEncoder
from rqrec.models.retriever.layers import SHORTEST, of_length
from rqrec.models.retriever.long_term import LongTermVectors
from rqrec.models.retriever.sampled_items import SampledItems
from rqrec.models.retriever.short_term_encoder import ShortTermEncoder
from rqrec.models.trie.lookup import take
from rqrec.models.trie.tensors import TriePaths, child_log_probs

PADDING = -1
LINEAR_STD, EMBEDDING_STD = 0.02, 0.1  # with 0.02 for embeddings, the model predicts only popularity for twice as long
ITEMS_PER_CHUNK = 65_536
SHORT_TERM_SHARE = 0.5  # of the short-term encoder's relevance in the relevance by which items are ranked


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

    The model may also hold a short-term encoder, which was trained before, and long-term vectors. Their weights are
    frozen, they are always in evaluation mode, and `forward` does not use them.

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
        with torch.random.fork_rng(devices=()):  # the other random numbers are the same with and without them
            self.short_term = ShortTermEncoder(config.short_term) if config.short_term else None
            self.long_term = LongTermVectors(config.long_term) if config.long_term else None
        if self.short_term is not None:
            self.short_term.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Sets the model without its short-term encoder to training mode, or to evaluation mode if `mode` is false."""
        super().train(mode)
        if self.short_term is not None:
            self.short_term.eval()
        return self

    def set_long_term(self, vectors: LongTermVectors | None) -> None:
        """Replaces the long-term vectors; None to have none."""
        self.config = replace(self.config, long_term=None if vectors is None else vectors.config)
        self.long_term = None if vectors is None else vectors.to(self.query.weight.device)

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
        vectors_SD = self.encode(sampled.items_S, catalogue)
        rows_BT = torch.searchsorted(sampled.items_S, history_BT.clamp_min(sampled.items_S[0]))
        states_MD = self.history(self.history.typed(vectors_SD[rows_BT], types_BT))[is_target_BT]
        relevance_MS = self.relevance(states_MD, vectors_SD) - sampled.log_drawn_S
        targets_in_sample_M = torch.searchsorted(sampled.items_S, targets_M)
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
        """Computes the vectors of all items, as the search reads them, without gradient.

        A vector has a part for each encoder (`RetrieverConfig.part_widths`): the vector of `encode`, the embedding of
        the short-term encoder, and the long-term vector with its slack. All parts have the length of the first one. So
        if the whole vector of P parts is scaled to unit length, each part has the length sqrt(1 / P).

        Args:
            catalogue: The catalogue.

        Returns:
            Item vectors in the order of the leaves, shape (N, W).
        """
        leaves_N = torch.arange(len(catalogue.rows_N), device=catalogue.rows_N.device)
        vectors_ND = torch.cat([self.encode(leaves, catalogue) for leaves in leaves_N.split(ITEMS_PER_CHUNK)])
        parts = [vectors_ND]
        if self.short_term is not None:
            directions_NF = F.normalize(self.short_term.items(catalogue.rows_N), dim=-1)
            parts.append(directions_NF * vectors_ND.norm(dim=-1, keepdim=True))
        if self.long_term is not None:
            directions_NH = self.long_term.with_slack(catalogue.rows_N)
            parts.append(directions_NH * vectors_ND.norm(dim=-1, keepdim=True))
        return torch.cat(parts, dim=1)

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

    def last(
        self, vectors_RW: Tensor, lengths_B: Tensor, history_length: int, types_R: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Computes the state after the last item of each history, and the query for ranking.

        Args:
            vectors_RW: Item vectors of B histories from `item_vectors`, one history after the other.
            lengths_B: Number of items in each history, 1..T.
            history_length: T, the length of each history including its padding.
            types_R: The event type of each item, 0 for unknown; None if all are unknown.

        Returns:
            The states of the history encoder, shape (B, D), and the queries of `weighted_queries`, shape (B, W).
        """
        items_RD, embeddings_RF, long_term_RH = vectors_RW.split(self.config.part_widths, dim=1)
        short_term_BF, long_term_BH = None, None
        if self.short_term is not None:
            short_term_BF = self.short_term.last(embeddings_RF, lengths_B, history_length)
        if self.long_term is not None:
            long_term_BH = self.long_term.query(long_term_RH, lengths_B, history_length)
        states_BD = self.history.last(self.history.typed(items_RD, types_R), lengths_B, history_length)
        return states_BD, self.weighted_queries(states_BD, short_term_BF, long_term_BH)

    def weighted_queries(
        self, states_BD: Tensor, short_term_BF: Tensor | None = None, long_term_BH: Tensor | None = None
    ) -> Tensor:
        """Computes the query of each user, scaled so that its dot products are relevance_weight * relevance.

        Args:
            states_BD: The state of the history encoder for each of B users.
            short_term_BF: The state of the short-term encoder for each of them; None if the model has none.
            long_term_BH: The query of the long-term vectors for each of them; None if the model has none.

        Returns:
            Queries of shape (B, W). The dot product is to be taken with an item vector at unit length.
        """
        # In an item vector of unit length, each of P parts has the length sqrt(1 / P).
        unit = math.sqrt(1 + (short_term_BF is not None) + (long_term_BH is not None))
        share = 0.0 if short_term_BF is None else SHORT_TERM_SHARE
        weight = unit * (1 - share) * self.config.relevance_weight / self.config.temperature
        parts = [of_length(weight, self.query(states_BD))]
        if short_term_BF is not None and self.short_term is not None:
            weight = unit * share * self.config.relevance_weight / self.short_term.config.temperature
            parts.append(of_length(weight, short_term_BF))
        if long_term_BH is not None:
            parts.append(unit * long_term_BH)
        return torch.cat(parts, dim=1)

    def weighted_relevance(self, queries_BW: Tensor, vectors_BKW: Tensor) -> Tensor:
        """Computes relevance_weight * relevance. Candidates are ranked by log_prob + relevance_weight * relevance.

        Args:
            queries_BW: The query of each of B users, from `weighted_queries`.
            vectors_BKW: The item vectors of the K candidates of each user.

        Returns:
            The weighted relevance of each candidate, shape (B, K), float32.
        """
        # Dividing the products by the lengths of the vectors costs less than dividing the vectors.
        lengths_BK = torch.linalg.vector_norm(vectors_BKW, dim=-1).clamp_min(SHORTEST)
        return torch.as_tensor(((vectors_BKW @ queries_BW.unsqueeze(2)).squeeze(2) / lengths_BK).float())

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
