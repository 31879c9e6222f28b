"""Measures repeats: how often users choose an item that is already in their own history.

Shapes: U users, I interactions.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rqrec.training.data.splits import Holdout, Sequences, Split
from rqrec.training.data.splitting.settings import SplitSettings

COMMON_SHARE = 0.1  # with more repeats than this, lists without the history would miss too much


@dataclass(frozen=True)
class Repeats:
    """How often users choose an item again, and whether recommendation lists leave out the user's history.

    Attributes:
        held_out_share: Share of the test items that are in their user's history, in [0, 1]; 0 without test items.
        training_share: Share of the training items that their user chose before, in [0, 1]. The first item of each user
            and dislikes are not counted.
        exclude_history: Whether recommendation lists leave out the items of the user's history.
        has_types: Whether interactions have event types. If so, the shares also count a user's two events of different
            types on one item, such as a view and a purchase.
    """

    held_out_share: float
    training_share: float
    exclude_history: bool
    has_types: bool = False

    @property
    def figures(self) -> dict[str, float]:
        """Both shares, and whether lists leave out the history (1.0 or 0.0), by name, for the evaluation's results."""
        return {
            "held_out_repeats": self.held_out_share,
            "training_repeats": self.training_share,
            "history_excluded": float(self.exclude_history),
        }

    @property
    def line(self) -> str:
        """Both shares, and whether lists leave out the history, as one sentence for the report about the data."""
        shares = f"{self.held_out_share:.1%} of the test items and {self.training_share:.1%} of the training items"
        consequence = "lists leave the history out" if self.exclude_history else "lists may repeat items of the history"
        mixed = (
            "; two events of different types on one item, such as a view and a purchase, are a repeat as well "
            "(DatasetSettings.event_types can leave types out)"
        )
        return (
            f"repeats: {shares} stand in the user's own history, so {consequence} (SplitSettings.exclude_history)"
            f"{mixed if self.has_types and not self.exclude_history else ''}"
        )


def measure_repeats(split: Split, settings: SplitSettings) -> Repeats:
    """Measures how often users choose an item again, and decides whether lists leave out the user's history.

    With the setting `exclude_history = "auto"`, lists leave out the history if at most a tenth of the test items are
    repeats. If there are no test items, the share of repeats among the training items decides.

    Args:
        split: The data set, divided into training, validation and test.
        settings: `exclude_history` is True, False or "auto".
    """
    held_out, training = held_out_share(split.test), training_share(split.train)
    exclude = settings.exclude_history
    if exclude == "auto":
        exclude = (held_out if len(split.test) else training) <= COMMON_SHARE
    return Repeats(held_out, training, exclude, has_types=split.train.types_I is not None)


def held_out_share(holdout: Holdout) -> float:
    """Returns the share of the targets that are already in their user's history, in [0, 1]; 0 if there are no users."""
    repeats = begin = 0
    for histories in holdout.histories.blocks():
        targets_U = holdout.targets_U[begin : begin + len(histories)]
        chosen = pl.Series(_keys(np.arange(len(histories)), targets_U))
        before = pl.Series(_keys(histories.rows_I, histories.items_I))
        repeats += int(chosen.is_in(before.implode()).sum())
        begin += len(histories)
    return repeats / len(holdout) if len(holdout) else 0.0


def training_share(train: Sequences) -> float:
    """Returns the share of the items that occur earlier in the same user's sequence too, in [0, 1].

    The first item of each user and dislikes are not counted. The share is 0 if no item is counted.
    """
    repeats = counted = 0
    for block in train.blocks():
        is_target_I = block.is_wanted_I.copy()
        is_target_I[block.offsets_U[:-1][block.lengths_U > 0]] = False
        is_first_I = pl.Series(_keys(block.rows_I, block.items_I)).is_first_distinct().to_numpy()
        counted += int(is_target_I.sum())
        repeats += int((is_target_I & ~is_first_I).sum())
    return repeats / counted if counted else 0.0


def _keys(users: NDArray[np.integer], items: NDArray[np.integer]) -> NDArray[np.int64]:
    """Returns one number for each pair of user and item."""
    return (users.astype(np.int64) << 32) | items.astype(np.int64)
