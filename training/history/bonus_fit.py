"""Fits what is added to the scores of candidates: the bonus of own and following items, and the long-term relevance.

An own item is an item of the user's history. A following item followed one of the user's last items in the training
data. A candidate is an item that the search found for a user, an own item or a following item.

Shapes: B users, X candidates of a user, C candidates of all users, F features of a candidate, N leaves, G columns of a
long-term vector.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from rqrec.models.array_types import FloatArray, IntArray
from rqrec.models.search.eligibility import Eligibility
from rqrec.models.search.history.bonus import HistoryBonus
from rqrec.models.search.history.own_items import Candidates, OwnItems
from rqrec.models.search.history.own_weights import AGE_CLASSES, MOST_COUNTED, OwnItemWeights, age_classes
from rqrec.models.search.history.transitions import transition_signal
from rqrec.models.search.padding import pad
from rqrec.models.search.recommender import SearchEngine
from rqrec.models.trie.trie import NO_LEAF, SemanticIdTrie
from rqrec.training.data.splits import Holdout
from rqrec.training.evaluation.rank_holdout import last_disliked, user_batches
from rqrec.training.runtime.progress import progress

NO_OWN_BONUS = OwnItemWeights((0.0,) * MOST_COUNTED, (0.0,) * AGE_CLASSES)
PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0)  # of the squared weights of own items; one is chosen
FOLLOWING_PENALTY = 1.0  # of the squared weight of following items
LONG_TERM_PENALTY = 1.0  # of that of the long-term relevance, whose values then have the standard deviation 1
LATER_PENALTY = 30.0  # of its squared distance from an earlier fit's; on MovieLens, 1,300 users move it half of the way
LONG_TERM = 2  # column of the long-term relevance
SMALLEST_UNIT = 1e-6  # smaller values are rounding errors of float32
MOST_WEIGHT = 60_000.0  # of the long-term relevance; the search in half precision knows no larger numbers
LEAST_GAIN = 0.01  # nats per user; with less, long-term vectors are not worth the longer search
FOLDS = 5  # of the users, to choose the penalty
LOWEST_SCALE = 0.02
COMPARED = 512  # different items of a history, the latest ones


_OfUser = tuple[NDArray[np.float64], NDArray[np.bool_]]  # features and target of a user's candidates


class _Choices(NamedTuple):
    """The candidates of all users whose next item is among them.

    Attributes:
        features_CF: Column 0 is the score, column 1 the signal of following items, column 2 the long-term relevance. If
            own items are candidates, the other columns mark the steps of count and age that a candidate has reached.
        first_B: The first candidate of each user.
        is_target_C: Whether the candidate is the user's next item; one for each user.
    """

    features_CF: NDArray[np.float64]
    first_B: NDArray[np.int64]
    is_target_C: NDArray[np.bool_]

    @classmethod
    def joined(cls, parts: Sequence[_OfUser]) -> "_Choices":
        """Joins the candidates of users."""
        features, targets = zip(*parts, strict=True)
        first_B = np.cumsum([0, *map(len, targets[:-1])])
        return cls(np.concatenate(features), first_B, np.concatenate(targets))

    def loss(self, weights_F: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The negative log-likelihood of the next items, and its gradient."""
        of_user_C = np.repeat(np.arange(len(self.first_B)), np.diff([*self.first_B, len(self.features_CF)]))
        logits_C = self.features_CF @ weights_F
        highest_B = np.maximum.reduceat(logits_C, self.first_B)
        exp_C = np.exp(logits_C - highest_B[of_user_C])
        total_B = np.add.reduceat(exp_C, self.first_B)
        targets_F = self.features_CF[self.is_target_C].sum(axis=0)
        value = (np.log(total_B) + highest_B).sum() - targets_F @ weights_F
        return float(value), self.features_CF.T @ (exp_C / total_B[of_user_C]) - targets_F


class FittedBonus(NamedTuple):
    """What is added to the scores of candidates.

    Attributes:
        history: The bonus of own items and of following items.
        long_term: The weight of the long-term relevance, at least 0.
    """

    history: HistoryBonus
    long_term: float


def fit_history_bonus(
    engine: SearchEngine,
    trie: SemanticIdTrie,
    holdout: Holdout,
    item_vectors_ND: FloatArray,
    *,
    max_history: int,
    beam_width: int,
    relevance_weight: float,
    exclude_history: bool,
    disliked_types: Sequence[int] = (),
    before: HistoryBonus | None = None,
    long_term_NG: FloatArray | None = None,
) -> FittedBonus:
    """Fits the weights of own items, of following items and of the long-term relevance, by a conditional logit model.

    The candidates of a user are the items that the search finds, own items (unless lists leave out the history) and
    following items. The logit of a candidate is scale * score + weight of its count + weight of its age + weight of
    `transition_signal` + weight of the long-term relevance. The count is how often the user chose the item. The age is
    how many items the user chose after choosing this item for the last time. The scale corrects scores that are too
    confident or not confident enough. The bonus is the sum of the weights, divided by the scale.

    There is one weight for each count and for each class of ages. An L2 penalty on the differences keeps the weights of
    neighbouring counts similar, and those of neighbouring ages; cross-validation chooses its strength. So a count that
    no user has gets the weight of the next lower count.

    Args:
        engine: The search of the trained retriever. It adds following items with a bonus of weight 0, from data without
            the users' next items.
        trie: The trie of the catalogue's semantic IDs.
        holdout: Users with histories of item_index, and each user's next item, on which the model was not trained.
        item_vectors_ND: Item vectors in the order of the trie's leaves, shape (N, D).
        max_history: T, the number of most recent items that the search reads.
        beam_width: Beam width of the search.
        relevance_weight: The factor in score = log_prob + relevance_weight * relevance.
        exclude_history: Whether lists leave out the items of the history. Then there is no bonus of own items.
        disliked_types: The numbers of the event types that are dislikes. An item whose last event in the user's
            history is a dislike is never recommended, so it is not a candidate.
        before: The bonus of an earlier fit. The penalties are then on the distance from its weights, so few users
            change them little. None for the first fit.
        long_term_NG: The long-term vectors in the order of the trie's leaves, if the scores of the search lack the
            long-term relevance; None to fit no weight for it.

    Returns:
        The weights. If no user's next item is a candidate, the bonus is `before`; in the first fit, the weights of own
        items are then 0. The bonus of following items is None if it is of no use.
    """
    if long_term_NG is None:
        long_term_NG = np.zeros((trie.num_leaves, 1), dtype=np.float32)
    own = None if exclude_history else NO_OWN_BONUS
    not_new_N = np.zeros(trie.num_leaves, dtype=np.bool_)
    items = OwnItems(NO_OWN_BONUS, not_new_N, item_vectors_ND, relevance_weight=relevance_weight, compared=COMPARED)
    everything, parts = Eligibility.everything(trie), []
    for users in user_batches(holdout, "fitting the bonus"):
        histories = [trie.leaf_of_row_N[holdout.histories[user]] for user in users]
        types = [holdout.histories.types_of(user) for user in users]
        excluded = histories if exclude_history else last_disliked(histories, types, disliked_types)
        recent = [history[-max_history:] for history in histories]
        excluded_BE = pad([np.unique(leaves) for leaves in excluded], filler=NO_LEAF)
        found = engine.search(
            pad(recent, filler=0),
            np.array([len(one) for one in recent]),
            excluded_BE,
            everything,
            beam_width=beam_width,
            types_BT=pad([one[-max_history:] for one in types], filler=0),
        )
        candidates = Candidates.from_found(found)
        if own is not None:
            candidates = items.candidates(found, histories, excluded_BE, everything)
        long_term_BX = _long_term_relevance(candidates, recent, long_term_NG)
        targets_B = trie.leaf_of_row_N[holdout.targets_U[users]]
        parts += list(_choices(candidates, long_term_BX, targets_B, with_own=own is not None))
    if not parts:
        return FittedBonus(before or HistoryBonus(own, None), 0.0)
    with progress("choosing the penalty"):
        scaled, unit = _scaled(parts)
        penalty = _best_penalty(scaled, before)
        fitted = _bonus(_fitted(_Choices.joined(_with_useful_columns(scaled, penalty, before)), penalty, before))
        return fitted._replace(long_term=min(fitted.long_term / unit, MOST_WEIGHT))


def _long_term_relevance(candidates: Candidates, histories: Sequence[IntArray], long_term_NG: FloatArray) -> FloatArray:
    """The long-term relevance of each candidate before it is weighted, shape (B, X)."""
    sums_BG = np.stack([long_term_NG[history].sum(axis=0) for history in histories])
    return np.asarray(np.einsum("bxg,bg->bx", long_term_NG[candidates.leaves_BX.clip(min=0)], sums_BG))


def _choices(
    candidates: Candidates, long_term_BX: FloatArray, targets_B: IntArray, *, with_own: bool
) -> Iterator[_OfUser]:
    """Yields the features and the target of each user whose next item is among the candidates."""
    for *values, target in zip(*candidates, long_term_BX, targets_B, strict=True):
        is_item_X = values[2] > -np.inf
        leaves_C, _, scores_C, counts_C, ages_C, strengths_C, long_term_C = (values_X[is_item_X] for values_X in values)
        is_target_C = leaves_C == target
        if is_target_C.any():
            columns = [scores_C, transition_signal(strengths_C), long_term_C]
            columns += [_steps(counts_C, ages_C)] if with_own else []
            yield np.column_stack(columns).astype(np.float64), is_target_C


def _steps(counts_C: IntArray, ages_C: IntArray) -> NDArray[np.float64]:
    """Marks the steps of count and age that each candidate has reached."""
    by_count_CF = counts_C[:, None] >= np.arange(1, MOST_COUNTED + 1)
    by_age_CF = age_classes(ages_C)[:, None] >= np.arange(1, AGE_CLASSES)
    return np.column_stack([by_count_CF, by_age_CF & by_count_CF[:, :1]]).astype(np.float64)


def _best_penalty(parts: Sequence[_OfUser], before: HistoryBonus | None = None) -> float:
    """Chooses the penalty by cross-validation over users.

    It is the largest one that is not worse than the best by more than one standard error of the difference (Hastie et
    al. 2009, 7.10), because the penalty that is best on a few hundred users overfits them.
    """
    if len(parts) < FOLDS:
        return PENALTIES[-1]
    folds = _folds(parts)
    losses = np.array([_held_out_losses(folds, penalty, before) for penalty in PENALTIES])
    worse = losses - losses[losses.mean(axis=1).argmin()]
    is_as_good = worse.mean(axis=1) <= worse.std(axis=1, ddof=1) / np.sqrt(FOLDS)
    return max(penalty for penalty, as_good in zip(PENALTIES, is_as_good, strict=True) if as_good)


def _folds(parts: Sequence[_OfUser]) -> list[tuple[_Choices, _Choices]]:
    """The users of each fold, and the others."""
    return [
        (
            _Choices.joined([part for at, part in enumerate(parts) if at % FOLDS == fold]),
            _Choices.joined([part for at, part in enumerate(parts) if at % FOLDS != fold]),
        )
        for fold in range(FOLDS)
    ]


def _held_out_losses(
    folds: Sequence[tuple[_Choices, _Choices]], penalty: float, before: HistoryBonus | None
) -> NDArray[np.float64]:
    """The mean loss on the users of each fold of weights that are fitted to the others."""
    return np.array([held.loss(_fitted(others, penalty, before))[0] / len(held.first_B) for held, others in folds])


def _scaled(parts: Sequence[_OfUser]) -> tuple[Sequence[_OfUser], float]:
    """Divides the long-term relevance by its standard deviation, which is returned too; 1 if all of it is equal."""
    unit = float(np.concatenate([features_CF[:, LONG_TERM] for features_CF, _ in parts]).std())
    unit = unit if unit > SMALLEST_UNIT else 1.0
    factors_F = np.ones(parts[0][0].shape[1])
    factors_F[LONG_TERM] = 1 / unit
    return [(features_CF * factors_F, is_target_C) for features_CF, is_target_C in parts], unit


def _with_useful_columns(
    parts: Sequence[_OfUser], penalty: float, before: HistoryBonus | None = None
) -> Sequence[_OfUser]:
    """Sets the column of the long-term relevance to 0, unless it makes other users' next items clearly more likely.

    It must gain `LEAST_GAIN`, and more than one standard error.
    """
    without = [(features_CF * (np.arange(features_CF.shape[1]) != LONG_TERM), target) for features_CF, target in parts]
    if len(parts) < FOLDS or not any(features_CF[:, LONG_TERM].any() for features_CF, _ in parts):
        return without
    losses, losses_without = (_held_out_losses(_folds(some), penalty, before) for some in (parts, without))
    gains = losses_without - losses
    return parts if gains.mean() > max(LEAST_GAIN, gains.std(ddof=1) / np.sqrt(FOLDS)) else without


def _fitted(choices: _Choices, penalty: float, before: HistoryBonus | None = None) -> NDArray[np.float64]:
    """Fits the scale, the weights of following items and long-term relevance, which are not negative, and the steps."""
    features = choices.features_CF.shape[1]
    penalties_F = np.full(features, penalty)
    penalties_F[:3] = 0.0, FOLLOWING_PENALTY if before is None else LATER_PENALTY, LONG_TERM_PENALTY
    before_F = np.zeros(features) if before is None else _weights_before(before, features)

    def loss(weights_F: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, gradient_F = choices.loss(weights_F)
        distances_F = weights_F - weights_F[0] * before_F
        slopes_F = penalties_F * distances_F
        gradient_F = gradient_F + slopes_F
        gradient_F[0] -= slopes_F @ before_F
        return value + float(slopes_F @ distances_F) / 2, gradient_F

    start_F = 0.1 * before_F
    start_F[0] = 0.1
    bounds = [(LOWEST_SCALE, None), (0.0, None), (0.0, None), *[(None, None)] * (features - 3)]
    return np.asarray(minimize(loss, start_F, jac=True, method="L-BFGS-B", bounds=bounds).x)


def _weights_before(bonus: HistoryBonus, features: int) -> NDArray[np.float64]:
    """Returns the weights that `_bonus` makes into a bonus, for a scale of 1; 0 in place of the scale."""
    weights_F = np.zeros(features)
    weights_F[1] = bonus.following or 0.0
    if bonus.own is not None and features > 3:
        weights_F[3:] = [*np.diff([0.0, *bonus.own.by_count]), *np.diff(bonus.own.by_age)]
    return weights_F


def _bonus(weights_F: NDArray[np.float64]) -> FittedBonus:
    scale, following, long_term, *steps = weights_F
    own = None
    if steps:
        by_count = np.cumsum(steps[:MOST_COUNTED]) / scale
        by_age = np.cumsum([0.0, *steps[MOST_COUNTED:]]) / scale
        own = OwnItemWeights(tuple(by_count.tolist()), tuple(by_age.tolist()))
    return FittedBonus(HistoryBonus(own, float(following / scale) or None), float(long_term / scale))
