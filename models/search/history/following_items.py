"""Adds following items to the found items: items that followed the user's last items in the training data.

A network remembers badly what followed an item once or twice; the table of transitions does not (docs/experiments.md,
"What neighbouring positions know"). Following items get a bonus on their score, whose weight is learnt in training
(`training.history.bonus_fit`). They are computed in the graph of the search: NumPy code outside the graph would wait
for the GIL at each operation under load.

Shapes: B users, T history items, K beams, E excluded leaves of a user, N leaves, P pairs of an item and an item that
followed it, R last items of a user, S following items of an item, X = R S following items of a user, J joining items of
a user, Y = K + J candidates of a user, D width.
"""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from rqrec.models.search.exclusion import EligibleTensors
from rqrec.models.search.history.transitions import KEPT, RECENT, WEAK, Following
from rqrec.models.search.new.new_item_scores import ANCHORS
from rqrec.models.search.ranked import BeamSearchOutput, Found, top_k
from rqrec.models.trie.trie import NO_LEAF

JOINING = 32  # following items of a user that the search did not find and that join: those that follow most strongly


class FollowingTensors(NamedTuple):
    """The table of transitions as PyTorch tensors that the search reads, and the weight of the bonus.

    The arrays are those of `models.search.history.transitions.Following.by_input_name`.

    Attributes:
        starts: int32, shape (N + 2,).
        items: int32, shape (P + 1,).
        strengths: float32, shape (P + 1,), or (2 P + 2,) with the strengths in sessions after the others.
        weight: The bonus of an item is this weight times ln(1 + strength / `WEAK`); float32, shape (1,).
    """

    starts: Tensor
    items: Tensor
    strengths: Tensor
    weight: Tensor

    @classmethod
    def from_following(cls, following: Following, device: torch.device) -> Self:
        """Makes the tensors from arrays, on a device.

        Args:
            following: The items that followed the item of each leaf, and the weight of their bonus.
            device: The device of the tensors.
        """
        return cls(*(torch.from_numpy(array).to(device) for array in following.by_input_name().values()))

    def after(self, history_BT: Tensor, lengths_B: Tensor, in_session_B: Tensor) -> tuple[Tensor, Tensor]:
        """Finds the items that followed the last `RECENT` items of each history.

        Args:
            history_BT: The places (item numbers) of the history items, oldest first, padded at the end; int64. After a
                place of N or above, which is an item that was added after the trie was built, nothing follows.
            lengths_B: The number of items in each history, 1..T, int64.
            in_session_B: 1 for a request in the session of the last item, whose strengths are those in sessions, if
                there are any; else 0; int32.

        Returns:
            The items, int32, shape (B, X), -1 in an empty entry; and their strengths, float32, 0 in an empty entry.
            The strengths after the last item count fully, after the last but one half, and so on. An item that followed
            several of them has the sum of its strengths in the first entry, and 0 in the others.

        Example:
            Item 0 was followed by the items 1 and 2, item 2 by item 1. The last item is 0, the last but one is 2.

            >>> import numpy as np
            >>> from rqrec.models.search.history.transitions import Transitions
            >>> starts_N, strengths_P = np.array([0, 2, 2, 3]), np.array([0.5, 0.25, 1], dtype=np.float32)
            >>> following = Following(Transitions(starts_N, np.array([1, 2, 1]), strengths_P), weight=1.0)
            >>> tensors = FollowingTensors.from_following(following, torch.device("cpu"))
            >>> request = torch.tensor([[2, 0]]), torch.tensor([2]), torch.zeros(1, dtype=torch.int32)
            >>> items_BX, strengths_BX = tensors.after(*request)
            >>> items_BX[0, :2].tolist(), strengths_BX[0, :2].tolist(), strengths_BX[0, 2:].sum().item()
            ([1, 2], [1.0, 0.25], 0.0)
        """
        device = history_BT.device
        nobody, no_pair = self.starts.shape[0] - 2, self.items.shape[0] - 1
        order_R = torch.arange(1, 1 + RECENT, device=device)
        positions_BR = lengths_B[:, None] - order_R
        places_BR = history_BT.gather(1, positions_BR.clamp_min(0)).clamp_max(nobody)
        places_BR = torch.where(positions_BR >= 0, places_BR, nobody)
        begins_BR, ends_BR = self.starts[places_BR], self.starts[places_BR + 1]
        pairs_BRS = begins_BR[:, :, None] + torch.arange(KEPT, dtype=torch.int32, device=device)
        pairs_BRS = torch.where(pairs_BRS < ends_BR[:, :, None], pairs_BRS, no_pair)
        in_sessions = self.strengths.shape[0] - self.items.shape[0]  # where the strengths in sessions begin, or 0
        items_BX = self.items[pairs_BRS].flatten(1)
        strengths_BRS = self.strengths[pairs_BRS + in_session_B[:, None, None] * in_sessions] / order_R[:, None]
        is_same_BXX = _equal(items_BX, items_BX)
        sums_BX = (is_same_BXX @ strengths_BRS.flatten(1)[:, :, None]).squeeze(2)
        is_repeated_BX = (is_same_BXX * torch.ones_like(is_same_BXX[0]).tril(-1)).amax(2)
        return items_BX, sums_BX * (1 - is_repeated_BX)


class Joining(NamedTuple):
    """The following items of B users, divided into those that the search found too and those that join them.

    Attributes:
        found_strengths_BK: How strongly each found item follows the user's last items, float32; 0 if it does not.
        leaves_BJ: The leaf of each item that joins, int32; of no meaning where the strength is 0.
        strengths_BJ: How strongly it follows the user's last items, float32; 0 in an empty entry.
    """

    found_strengths_BK: Tensor
    leaves_BJ: Tensor
    strengths_BJ: Tensor

    @classmethod
    def from_following(
        cls,
        items_BX: Tensor,
        strengths_BX: Tensor,
        found_leaves_BK: Tensor,
        excluded_BE: Tensor,
        eligible: EligibleTensors,
    ) -> Self:
        """Chooses the items that join: those that follow most strongly among those that may be returned.

        Args:
            items_BX: Following items of each user, from `FollowingTensors.after`.
            strengths_BX: Their strengths.
            found_leaves_BK: The leaves that the search found, int32, -1 in an empty entry.
            excluded_BE: For each user, the leaves that must not be returned, padded with -1; integer.
            eligible: The leaves that pass the filter.
        """
        leaves_BX = items_BX.clamp_min(0)
        is_taken_BZX = _equal(torch.cat([found_leaves_BK, excluded_BE.int()], dim=1), items_BX)
        taken_strengths_BZ = (is_taken_BZX @ strengths_BX[:, :, None]).squeeze(2)
        may_join_BX = eligible.penalties[-1][leaves_BX] >= is_taken_BZX.amax(1)  # a penalty is 0, or -inf if filtered
        strengths_BJ, index_BJ = top_k(torch.where(may_join_BX, strengths_BX, 0), JOINING)
        found_strengths_BK = taken_strengths_BZ[:, : found_leaves_BK.shape[1]]
        return cls(found_strengths_BK, leaves_BX.gather(1, index_BJ), strengths_BJ)

    def candidates(self, found: Found) -> Tensor:
        """Returns the leaves of the found items, then those of the joining items, int32, shape (B, Y)."""
        return torch.cat([found.leaves_BK, self.leaves_BJ], dim=1)

    def ranked(
        self,
        found: Found,
        leaves_BY: Tensor,
        queries_BD: Tensor,
        weighted_BY: Tensor,
        weight: Tensor,
        *,
        relevance_weight: float,
    ) -> BeamSearchOutput:
        """Ranks the found items and the joining items together, by their scores with the bonus.

        The log-probability of a joining item is estimated from its relevance, and is at most that of the last found
        item.

        Args:
            found: The items that the search found.
            leaves_BY: The leaves of all candidates, from `candidates`.
            queries_BD: The query of each user, to be returned too.
            weighted_BY: relevance_weight * relevance of each candidate, float32.
            weight: The weight of the bonus, float32, shape (1,).
            relevance_weight: The weight of relevance in score = log_prob + relevance_weight * relevance.

        Returns:
            K + J items of each user. The scores include the bonus.
        """
        offsets_B, lowest_B = _estimate_bounds(found, weighted_BY[:, :-JOINING], relevance_weight)
        estimates_BJ = weighted_BY[:, -JOINING:] / (relevance_weight or 1) + offsets_B[:, None]
        log_probs_BJ = torch.minimum(estimates_BJ, lowest_B[:, None])
        log_probs_BJ = torch.where(self.strengths_BJ > 0, log_probs_BJ, -torch.inf)
        log_probs_BY = torch.cat([found.log_probs_BK, log_probs_BJ], dim=1)
        strengths_BY = torch.cat([self.found_strengths_BK, self.strengths_BJ], dim=1)
        scores_BY = log_probs_BY + weighted_BY + weight * torch.log1p(strengths_BY / WEAK)
        scores_BY, order_BY = top_k(scores_BY, scores_BY.shape[1])
        return BeamSearchOutput(
            torch.where(scores_BY > -torch.inf, leaves_BY.gather(1, order_BY), NO_LEAF),
            log_probs_BY.gather(1, order_BY),
            scores_BY,
            queries_BD.float(),
            strengths_BY.gather(1, order_BY),
            offsets_B,
            lowest_B,
        )


def _estimate_bounds(found: Found, weighted_BK: Tensor, relevance_weight: float) -> tuple[Tensor, Tensor]:
    """The offset of each user as `NewItemScores.offsets` computes it, and the smallest log-probability found, or 0."""
    is_found_BK = found.leaves_BK >= 0
    lowest_B = torch.where(is_found_BK, found.log_probs_BK, 0).amin(1).clamp_max(0)
    if not relevance_weight:
        return lowest_B, lowest_B
    scores_BK, order_BK = top_k(found.log_probs_BK + weighted_BK, weighted_BK.shape[1])
    is_anchor_BK = (scores_BK > -torch.inf)[:, :ANCHORS]
    differences_BK = (found.log_probs_BK - weighted_BK / relevance_weight).gather(1, order_BK)[:, :ANCHORS]
    differences_BK = torch.where(is_anchor_BK, differences_BK, 0)
    return differences_BK.sum(1) / is_anchor_BK.float().sum(1).clamp_min(1), lowest_B


def _equal(one_BX: Tensor, other_BY: Tensor) -> Tensor:
    """Compares each item of one list of a user with each one of another: 1 or 0, float32, shape (B, X, Y)."""
    return (one_BX[:, :, None] == other_BY[:, None, :]).float()
