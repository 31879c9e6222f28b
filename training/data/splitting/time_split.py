"""Splits a data set by time: training on interactions before a date, testing on the interactions after it.

Shapes: U users, I interactions.
"""

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from rqrec.training.data.dataset import TIMESTAMP, DataError, Dataset
from rqrec.training.data.splits import Holdout, Sequences, Split, user_sequences
from rqrec.training.data.splitting.settings import SplitSettings
from rqrec.training.data.splitting.time_unit import SECONDS_A_DAY, ticks_per_second

TimeArray = NDArray[np.int64]


def split_by_time(dataset: Dataset, settings: SplitSettings) -> Split:
    """Splits a data set at two points in time: training, then the validation period, then the test period.

    A user is a case of the validation or test period if they have interactions before the period and in it. The history
    is everything before the period. The target is the user's first item in the period, and `Holdout.period` holds all
    items of the user in the period. Dislikes in the period do not count.

    Args:
        dataset: The data set.
        settings: When the periods begin and end.

    Raises:
        DataError: If a date is set but the timestamps are not times since 1970, or if there is no training target or no
            test user.
    """
    sequences, times_I = user_sequences(dataset), dataset.interactions[TIMESTAMP].to_numpy()
    test_from = _point(times_I, settings.test_from)
    before_I = times_I < test_from
    validation_from = test_from
    if settings.validation_share:
        validation_from = _point(times_I[before_I], 1 - settings.validation_share)
    is_train_I = times_I < validation_from
    train = sequences.only(is_train_I)
    if not train.has_target:
        raise DataError(
            "SplitSettings: no user has two interactions before the held-out periods, so there is nothing to train on: "
            "choose a later test_from, or a smaller validation_share"
        )
    until = _end(times_I, test_from, settings.test_days)
    test = _questions(sequences, before_I, (times_I >= test_from) & (times_I < until))
    if not len(test):
        raise DataError(
            "SplitSettings: no user has interactions both before test_from and in the test period: choose another "
            "test_from, or a longer period (test_days)"
        )
    return Split(train, _questions(sequences, is_train_I, before_I & ~is_train_I), test, is_train_I)


def _point(times_I: TimeArray, where: float | str) -> int:
    """Returns the timestamp where a period begins: a date, or the point that a share of the interactions precedes."""
    if isinstance(where, str):
        date = datetime.fromisoformat(where)
        return round((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() * _ticks(times_I, "test_from"))
    if not len(times_I):
        raise DataError("SplitSettings: there is no interaction before test_from: choose a later one")
    return int(np.partition(times_I, rank := min(int(where * len(times_I)), len(times_I) - 1))[rank])


def _end(times_I: TimeArray, begin: int, days: float) -> int:
    if not days:
        return int(times_I.max()) + 1
    return begin + round(days * SECONDS_A_DAY * _ticks(times_I, "test_days"))


def _ticks(times_I: TimeArray, setting: str) -> int:
    ticks = ticks_per_second(times_I)
    if ticks is None:
        raise DataError(
            f"SplitSettings.{setting} needs interactions with times since 1970, but theirs are such as {times_I[0]}: "
            "name the column of times in DatasetSettings.columns, or use a share of the interactions in test_from and "
            "test_days = 0"
        )
    return ticks


def _questions(sequences: Sequences, is_before_I: NDArray[np.bool_], is_asked_I: NDArray[np.bool_]) -> Holdout:
    histories, period = sequences.only(is_before_I), sequences.only(is_asked_I & sequences.is_wanted_I)
    asked_U = (histories.lengths_U > 0) & (period.lengths_U > 0)
    histories, period = histories.select(asked_U), period.select(asked_U)
    targets = period.offsets_U[:-1]
    times_U = None if period.times_I is None else period.times_I[targets]
    return Holdout(histories, period.items_I[targets], period, times_U)
