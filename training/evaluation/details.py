"""What an evaluation measured of each user, item and list entry, for the training report.

Shapes: U users, K list length, N items, R entries of lists.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rqrec.training.data.splits import Holdout
from rqrec.training.evaluation.metrics import Ranks, ranks_of_targets

USERS, SHOWN, ENTRIES = "users.parquet", "shown.parquet", "entries.parquet"
LENGTH, POPULARITY = "history_length", "target_popularity"
RANK = "rank of "  # before the name of a model in the name of a column
MAX_ENTRY_USERS = 5000


@dataclass(frozen=True)
class EvaluationDetails:
    """The results of an evaluation before they became means.

    Attributes:
        history_length_U: Number of items in each test user's history.
        target_popularity_U: Number of training interactions of each user's target, the true next item.
        ranks: By model name, the rank of each user's target in the user's list; infinity if it is not in the list.
        shown: By model name, in how many users' lists each item is, by item_index, shape (N,).
        log_probs_R: The log-probability that the retriever gave each entry of its lists; of at most 5,000 users.
        is_hit_R: Whether the entry is the user's target.
    """

    history_length_U: NDArray[np.int64]
    target_popularity_U: NDArray[np.int64]
    ranks: Mapping[str, Ranks]
    shown: Mapping[str, NDArray[np.int64]]
    log_probs_R: NDArray[np.float32]
    is_hit_R: NDArray[np.bool_]

    @classmethod
    def from_lists(
        cls,
        lists: Mapping[str, NDArray[np.int64]],
        test: Holdout,
        popularity_N: NDArray[np.int64],
        *,
        shown_k: int,
        model: str,
        log_probs_UK: NDArray[np.float32],
    ) -> Self:
        """Makes the details from the lists of all models.

        Args:
            lists: By model name, the list of each user: item_index, best first; -1 stands for no item; shape (U, K).
            test: The users and their targets.
            popularity_N: Number of training interactions of each item, by item_index.
            shown_k: How many items at the start of a list count as shown.
            model: Name of the model whose probabilities are kept.
            log_probs_UK: The log-probability of each entry of this model's lists.
        """
        chosen_R = np.sort(np.random.default_rng(0).permutation(len(test))[:MAX_ENTRY_USERS])
        found_RK = lists[model][chosen_R]
        is_entry_RK = found_RK >= 0
        counts = {
            name: np.bincount(lists_UK[:, :shown_k][lists_UK[:, :shown_k] >= 0], minlength=len(popularity_N))
            for name, lists_UK in lists.items()
        }
        return cls(
            test.histories.lengths_U,
            popularity_N[test.targets_U],
            {name: ranks_of_targets(lists_UK, test.targets_U) for name, lists_UK in lists.items()},
            counts,
            log_probs_UK[chosen_R][is_entry_RK],
            (found_RK == test.targets_U[chosen_R, None])[is_entry_RK],
        )

    def write(self, directory: Path) -> None:
        """Writes the details to three Parquet files in a folder."""
        ranks = {
            f"{RANK}{name}": np.where(np.isfinite(one), one, 0).astype(np.int32) for name, one in self.ranks.items()
        }
        users = {LENGTH: self.history_length_U, POPULARITY: self.target_popularity_U, **ranks}
        pl.DataFrame(users).write_parquet(directory / USERS)
        pl.DataFrame(dict(self.shown)).write_parquet(directory / SHOWN)
        pl.DataFrame({"log_prob": self.log_probs_R, "is_hit": self.is_hit_R}).write_parquet(directory / ENTRIES)

    @classmethod
    def load(cls, directory: Path) -> Self | None:
        """Reads the details that `write` wrote; None if the folder has none."""
        if not (directory / USERS).is_file():
            return None
        users, shown = pl.read_parquet(directory / USERS, glob=False), pl.read_parquet(directory / SHOWN, glob=False)
        entries = pl.read_parquet(directory / ENTRIES, glob=False)
        ranks = {}
        for name in users.columns[2:]:
            ranks_U = users[name].to_numpy().astype(np.float64)
            ranks[name.removeprefix(RANK)] = np.where(ranks_U > 0, ranks_U, np.inf)
        return cls(
            users[LENGTH].to_numpy(),
            users[POPULARITY].to_numpy(),
            ranks,
            {name: shown[name].to_numpy() for name in shown.columns},
            entries["log_prob"].to_numpy(),
            entries["is_hit"].to_numpy(),
        )
