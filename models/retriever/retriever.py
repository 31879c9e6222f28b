"""The retriever: an RQ-Transformer over semantic IDs (Lee et al. 2022, arXiv 2203.01941), moved to items.

A history item is one vector. A causal encoder reads T of them; at every position a small code decoder generates
the next item's L codes: p(item | history) = p(c_1 | h) p(c_2 | c_1, h) …, each factor a softmax over the trie's
valid children, so that p sums to one over the catalogue. Beside it the state rates items by the cosine to their
vectors, which ranks what was generated (Yang et al. 2024, arXiv 2411.18814, join the two likewise).

Shapes: B users, T history items, L levels, N items, E feature columns, D width, M positions, S sampled items, X drawn.
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
LINEAR_STD, EMBEDDING_STD = 0.02, 0.1  # embeddings as small as weights take twice the steps to leave popularity behind
ITEMS_PER_CHUNK = 65_536


class CatalogueTensors(NamedTuple):
    """What training needs of the catalogue, by leaf.

    Attributes:
        paths: Semantic IDs and the nodes on the way to them.
        features_NE: Features as the RQ-VAE reads them.
        rows_N: Each leaf's row in the tables of training.
        shares_N: Each leaf's share of all training targets.
    """

    paths: TriePaths
    features_NE: Tensor
    rows_N: Tensor
    shares_N: Tensor

    @property
    def prefixes_N(self) -> Tensor:
        """Each leaf's node at depth 2; of IDs of two codes, the leaf itself."""
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
        """Lays a catalogue out on a device.

        Args:
            trie: The catalogue's trie.
            features_NE: By row, as the trie was built.
            popularity_N: How often each row was chosen in training.
            device: Where to.
        """
        rows_N = trie.row_of_leaf_N
        shares_N = popularity_N[rows_N] / np.float32(max(popularity_N.sum(), 1))
        arrays = (features_NE[rows_N], rows_N, shares_N.astype(np.float32))
        return cls(TriePaths.from_trie(trie).to(device), *(torch.from_numpy(array).to(device) for array in arrays))


class RatedItems(NamedTuple):
    """The items beside which a step's next items are rated.

    Attributes:
        leaves_S: Distinct leaf positions in ascending order.
        log_drawn_S: Log-probability that each is among them.
    """

    leaves_S: Tensor
    log_drawn_S: Tensor

    @classmethod
    def from_batch(cls, items_X: Tensor, catalogue: CatalogueTensors, *, targets: int, draws: int) -> "RatedItems":
        """Takes a sample of a step's items and of uniform draws from the catalogue.

        Args:
            items_X: Leaf positions: all that the step reads and predicts, and the draws; they may repeat.
            catalogue: The catalogue.
            targets: How many items the step predicts.
            draws: How many were drawn uniformly.
        """
        leaves_S = items_X.unique()
        shares_S, num_items = catalogue.shares_N[leaves_S], len(catalogue.shares_N)
        # Targets come by their shares. Taken off the ratings, the softmax over the sample estimates that over the
        # catalogue (Yi et al. 2019).
        missed_S = targets * torch.log1p(-shares_S.clamp_max(0.5)) + draws * math.log1p(-1 / (num_items + 1))
        return cls(leaves_S, torch.log(-torch.expm1(missed_S)).clamp_min(math.log(torch.finfo(torch.float32).tiny)))


class RetrieverOutput(NamedTuple):
    """The losses of a batch, mean per position in nats.

    Attributes:
        loss: What to minimise: generation_loss + relevance_loss.
        generation_loss: -log p(next item).
        relevance_loss: Cross-entropy of the next item's rating among the sampled items'.
        level_losses_L: The generation loss by level.
    """

    loss: Tensor
    generation_loss: Tensor
    relevance_loss: Tensor
    level_losses_L: Tensor


class Retriever(nn.Module):
    """Item encoder, history encoder and code decoder, and the loss that trains them together."""

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

    def forward(
        self, history_BT: Tensor, targets_BT: Tensor, rated: RatedItems, catalogue: CatalogueTensors
    ) -> RetrieverOutput:
        """The losses of the next item at all positions, in one pass.

        Args:
            history_BT: Leaf positions of the items read, oldest first, padded at the end with -1, T <= max_history.
            targets_BT: Leaf position of the item that follows each, -1 where none is to be learnt.
            rated: All items of the two, and more, beside which the next items are rated.
            catalogue: The catalogue that all of them index, laid out by `CatalogueTensors.from_trie`.
        """
        is_target_BT = targets_BT != PADDING
        targets_M = targets_BT[is_target_BT]
        # Every item is encoded once, and rated for every position.
        vectors_SD = self.encode(rated.leaves_S, catalogue)
        places_BT = torch.searchsorted(rated.leaves_S, history_BT.clamp_min(rated.leaves_S[0]))
        states_MD = self.history(vectors_SD[places_BT])[is_target_BT]
        ratings_MS = self.relevance(states_MD, vectors_SD) - rated.log_drawn_S
        relevance_loss = F.cross_entropy(ratings_MS.float(), torch.searchsorted(rated.leaves_S, targets_M))
        generating_MD = _scale_gradient(states_MD, self.config.generation_gradient)
        level_losses_L = -self.log_probs(generating_MD, targets_M, catalogue.paths).mean(0)
        generation_loss = level_losses_L.sum()
        return RetrieverOutput(
            generation_loss + relevance_loss,
            generation_loss.detach(),
            relevance_loss.detach(),
            level_losses_L.detach(),
        )

    def encode(self, leaves_S: Tensor, catalogue: CatalogueTensors) -> Tensor:
        """The vectors of some of the catalogue's items, shape (S, D)."""
        arrays = (catalogue.paths.codes_NL, catalogue.prefixes_N, catalogue.features_NE, catalogue.rows_N)
        return torch.as_tensor(self.items(*(array[leaves_S] for array in arrays)))

    @torch.no_grad()
    def item_vectors(self, catalogue: CatalogueTensors) -> Tensor:
        """The vectors of all items by leaf, shape (N, D): what the search reads, worked out once a catalogue."""
        leaves_N = torch.arange(len(catalogue.rows_N), device=catalogue.rows_N.device)
        return torch.cat([self.encode(leaves, catalogue) for leaves in leaves_N.split(ITEMS_PER_CHUNK)])

    def relevance(self, states_MD: Tensor, vectors_SD: Tensor) -> Tensor:
        """Rates items for states: cosines over the temperature, shape (M, S)."""
        queries_MD = F.normalize(self.query(states_MD), dim=-1) / self.config.temperature
        return queries_MD @ F.normalize(vectors_SD, dim=-1).T

    def weighted_queries(self, states_BD: Tensor) -> Tensor:
        """Times an item's vector at unit length: its rating for each state, weighted for ranking; shape (B, D)."""
        return F.normalize(self.query(states_BD), dim=-1) * (self.config.relevance_weight / self.config.temperature)

    def rerank(self, queries_BD: Tensor, vectors_RD: Tensor, log_probs_BK: Tensor) -> Tensor:
        """What candidates are ranked by: log-probabilities plus weighted ratings, shape (B, K).

        Args:
            queries_BD: `weighted_queries`.
            vectors_RD: Each user's K candidates' vectors, one user after the other, shape (B K, D).
            log_probs_BK: Their log-probabilities.
        """
        vectors_BKD = F.normalize(vectors_RD, dim=-1).view(*log_probs_BK.shape, -1)
        return log_probs_BK + (queries_BD.unsqueeze(1) @ vectors_BKD.transpose(1, 2)).squeeze(1).float()

    def log_probs(self, states_MD: Tensor, leaves_M: Tensor, paths: TriePaths) -> Tensor:
        """Each level's natural log-probability of given items, shape (M, L); their sum is log p(item | history)."""
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
    """The input as it is; of its gradient only a share goes on."""
    return x if share == 1 else x.detach() + share * (x - x.detach())


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=EMBEDDING_STD)
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=LINEAR_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
