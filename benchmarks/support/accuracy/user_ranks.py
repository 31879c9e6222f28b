"""Ranks user by user: written to a file, read again, and compared with those of another model.

A file has the columns user_id, validation_rank and test_rank. A rank is that of the user's next item, 1 for the best.
It is empty if the model's list does not contain the item.

Shapes: U users.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.table import Table

from rqrec.training.data.dataset import TIMESTAMP, USER_ID, DataError, Dataset, require_columns
from rqrec.training.data.sequence_files import read_day_gaps
from rqrec.training.data.splits import user_sequences
from rqrec.training.data.splitting.leave_one_out import can_hold_out, leave_one_out
from rqrec.training.data.splitting.time_unit import SECONDS_A_DAY, ticks_per_second
from rqrec.training.evaluation.baselines import item_popularity
from rqrec.training.evaluation.metrics import gains, hits

VALIDATION_RANK, TEST_RANK = "validation_rank", "test_rank"
DAYS, TARGET_ACTIONS, HISTORY = "days before the target", "training actions of the target", "items of the history"
# The first value of each group. A group without a name of its own ends before the next one begins.
GROUPS: dict[str, Sequence[int]] = {
    DAYS: (0, 1, 8, 31, 181),
    TARGET_ACTIONS: (0, 1, 5, 10, 20, 50),
    HISTORY: (1, 4, 6, 8, 12, 20),
}
HELD_OUT_ITEMS, K = 2, 10


def rank_table(dataset: Dataset, validation_U: NDArray[np.float64], test_U: NDArray[np.float64]) -> pl.DataFrame:
    """Makes a table of ranks, one row for each user that leave-one-out asks about.

    Args:
        dataset: The data set.
        validation_U: The rank of each user's validation item; infinite if the list does not contain it.
        test_U: The rank of each user's test item, likewise.
    """
    asked_U = can_hold_out(user_sequences(dataset), HELD_OUT_ITEMS)
    ranks = {
        name: pl.Series(name, ranks_U).replace(np.inf, None).cast(pl.Int64)
        for name, ranks_U in ((VALIDATION_RANK, validation_U), (TEST_RANK, test_U))
    }
    return pl.DataFrame([dataset.user_ids.filter(pl.Series(asked_U)), *ranks.values()])


def read_ranks(path: Path) -> pl.DataFrame:
    """Reads a file of ranks.

    Args:
        path: A CSV file with the columns user_id, validation_rank and test_rank.

    Raises:
        DataError: If the file cannot be read or lacks a column.
    """
    try:
        ranks = pl.read_csv(path, schema_overrides={USER_ID: pl.String})
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path} must be a CSV file of ranks, but it cannot be read: {error}") from error
    require_columns(ranks.columns, [USER_ID, VALIDATION_RANK, TEST_RANK], path=path)
    return ranks


def describe_users(dataset: Dataset, folder: Path) -> pl.DataFrame:
    """Says of each user that leave-one-out asks about what may make the test item easy or hard.

    Args:
        dataset: The data set.
        folder: Its folder; the days of sequence files are read from there.

    Returns:
        user_id, how often the test item occurs in training, the length of the history, and, if the data has times, the
        days between the item before and the test item.
    """
    sequences = user_sequences(dataset)
    split = leave_one_out(sequences)
    asked_U = can_hold_out(sequences, HELD_OUT_ITEMS)
    users = pl.DataFrame(
        [
            dataset.user_ids.filter(pl.Series(asked_U)),
            pl.Series(TARGET_ACTIONS, item_popularity(split.train, len(dataset.items))[split.test.targets_U]),
            pl.Series(HISTORY, split.test.histories.lengths_U),
        ]
    )
    days = _days_before_last(dataset, folder)
    return users if days is None else users.join(days, on=USER_ID, how="left", maintain_order="left")


def _days_before_last(dataset: Dataset, folder: Path) -> pl.DataFrame | None:
    """Returns the days between each user's last two interactions; None if the data set has no times."""
    gaps = read_day_gaps(folder) if folder.is_dir() else None
    if gaps is not None:
        days = gaps.sort(USER_ID, TIMESTAMP).group_by(USER_ID).agg(pl.col("day").tail(2))
    else:
        ticks = ticks_per_second(dataset.interactions[TIMESTAMP].to_numpy().astype(np.int64))
        if ticks is None:
            return None
        days = dataset.interactions.group_by("user_index").agg(
            (pl.col(TIMESTAMP).tail(2) // (ticks * SECONDS_A_DAY)).alias("day")
        )
        ids = dataset.user_ids.to_frame().with_row_index("user_index")
        days = days.join(ids.cast({"user_index": pl.Int32}), on="user_index")
    return days.select(USER_ID, (pl.col("day").list.last() - pl.col("day").list.first()).alias(DAYS))


def compare_ranks(own: pl.DataFrame, other: pl.DataFrame, users: pl.DataFrame) -> Table:
    """Compares two models on the test items of the same users, in groups of users.

    Args:
        own: The ranks of RQRec.
        other: The ranks of the other model.
        users: What is known of each user, from `describe_users`.

    Returns:
        For all users, and for each group: recall and NDCG at 10 of both, and the shares of users whose item both, only
        RQRec and only the other model have in their lists.

    Raises:
        DataError: If the other model lacks users.
    """
    joined = own.join(other, on=USER_ID, suffix="_other").join(users, on=USER_ID)
    if len(joined) != len(own):
        raise DataError(
            f"both files of ranks must have the same users, but {len(own) - len(joined)} of {len(own)} are missing: "
            "compare models that were measured on the same data set"
        )
    table = Table("users", title="by user: RQRec (A) and the other model (B), test items", title_justify="left")
    for name in ("count", "A R@10", "B R@10", "A N@10", "B N@10", "both", "only A", "only B"):
        table.add_column(name, justify="right")
    _add_row(table, "all", joined)
    for column, starts in GROUPS.items():
        if column not in joined.columns:
            continue
        ends = [*(start - 1 for start in starts[1:]), None]
        for start, end in zip(starts, ends, strict=True):
            within = joined.filter(pl.col(column).is_between(start, np.iinfo(np.int64).max if end is None else end))
            name = f"{start} and more" if end is None else f"{start}" if start == end else f"{start} to {end}"
            if len(within):
                _add_row(table, f"{column}: {name}", within)
    return table


def _add_row(table: Table, name: str, users: pl.DataFrame) -> None:
    own_U, other_U = (
        users[column].cast(pl.Float64).fill_null(np.inf).to_numpy() for column in (TEST_RANK, f"{TEST_RANK}_other")
    )
    own_hits_U, other_hits_U = hits(own_U, k=K) > 0, hits(other_U, k=K) > 0
    recalls = [own_hits_U, other_hits_U]
    ndcgs = [gains(own_U, k=K), gains(other_U, k=K)]
    shares = [own_hits_U & other_hits_U, own_hits_U & ~other_hits_U, other_hits_U & ~own_hits_U]
    columns = (*recalls, *ndcgs, *shares)
    table.add_row(name, f"{len(users):,}", *(f"{values_U.astype(np.float64).mean():.4f}" for values_U in columns))
