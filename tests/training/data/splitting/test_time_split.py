import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from rqrec.training.data.dataset import DataError, Dataset
from rqrec.training.data.splits import Sequences
from rqrec.training.data.splitting.settings import SplitSettings
from rqrec.training.data.splitting.split import split_users
from rqrec.training.data.splitting.time_split import split_by_time
from rqrec.training.data.splitting.time_unit import SECONDS_A_DAY

JUNE, DAY = 1_717_200_000, SECONDS_A_DAY  # 2024-06-01 UTC


def dataset(rows: list[tuple[int, int, int]], ticks: int = 1) -> Dataset:
    """A data set of (user, item, day in June) rows, grouped by user, oldest first."""
    users, items, days = zip(*rows, strict=True)
    interactions = pl.DataFrame(
        {
            "user_index": pl.Series(users, dtype=pl.Int32),
            "item_index": pl.Series(items, dtype=pl.Int32),
            "timestamp": pl.Series([(JUNE + day * DAY) * ticks for day in days], dtype=pl.Int64),
        }
    )
    return Dataset("log", pl.DataFrame({"item_id": [str(item) for item in range(10)]}), interactions, "")


LOG = dataset(
    [
        *[(0, 1, 0), (0, 2, 1), (0, 3, 8), (0, 4, 9), (0, 5, 9)],  # asked in test about 3, 4 and 5
        *[(1, 6, 2), (1, 7, 5), (1, 7, 6)],  # asked in validation only
        *[(2, 8, 9)],  # nothing before the test period
        *[(3, 1, 0), (3, 9, 6), (3, 9, 20)],
    ]
)


def listed(sequences: Sequences | None) -> list[list[int]]:
    assert sequences is not None
    return [sequences[row].tolist() for row in range(len(sequences))]


def test_training_ends_where_validation_begins_and_validation_where_the_test_begins() -> None:
    split = split_users(LOG, SplitSettings(kind="time", test_from="2024-06-08", validation_share=0.4))
    assert listed(split.train) == [[1, 2], [6], [], [1]]
    assert split.is_train_I.tolist() == [True, True, False, False, False, True, *[False] * 3, True, False, False]
    assert listed(split.validation.histories) == [[6], [1]]
    assert split.validation.targets_U.tolist() == [7, 9]
    assert listed(split.validation.period) == [[7, 7], [9]]
    assert listed(split.test.histories) == [[1, 2], [1, 9]]
    assert split.test.targets_U.tolist() == [3, 9]
    assert listed(split.test.period) == [[3, 4, 5], [9]]


def test_the_test_period_ends_after_some_days() -> None:
    split = split_by_time(LOG, SplitSettings(kind="time", test_from="2024-06-08", test_days=2))
    assert listed(split.test.period) == [
        [3],
    ]
    assert listed(split.test.histories) == [[1, 2]]


@pytest.mark.parametrize("ticks", [1, 10**3, 10**6, 10**9])
def test_dates_fit_times_of_every_unit(ticks: int) -> None:
    rows = [(0, 1, 0), (0, 2, 1), (0, 3, 8), (0, 4, 12)]
    settings = SplitSettings(kind="time", test_from="2024-06-09T02:00:00+02:00", test_days=3, validation_share=0.0)
    split = split_by_time(dataset(rows, ticks), settings)
    assert listed(split.train) == [[1, 2]]
    assert len(split.validation) == 0
    assert listed(split.test.period) == [[3]]


def test_a_share_is_that_of_the_interactions_before_the_test_period() -> None:
    split = split_by_time(LOG, SplitSettings(kind="time", test_from=0.5, validation_share=0.0))
    assert listed(split.train) == [[1, 2], [6, 7], [], [1]]
    assert len(split.train.items_I) <= 0.5 * len(LOG.interactions)


def test_a_sample_of_users_keeps_their_periods() -> None:
    split = split_by_time(LOG, SplitSettings(kind="time", test_from="2024-06-08", validation_share=0.4))
    one = split.test.sample(1, seed=0)
    assert listed(one.period) in ([[3, 4, 5]], [[9]])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test_from": "2024-05-01"}, "there is no interaction before test_from"),
        ({"test_from": "2024-06-01T12:00", "validation_share": 0.0}, "no user has two interactions before"),
        ({"test_from": "2025-01-01"}, "no user has interactions both before test_from and in the test period"),
    ],
)
def test_periods_that_leave_nothing_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split_by_time(LOG, SplitSettings(kind="time", **settings))  # type: ignore[arg-type]


def test_a_date_needs_times() -> None:
    rows = LOG.interactions.with_row_index("position").with_columns(
        pl.col("position").cast(pl.Int64).alias("timestamp")
    )
    positions = Dataset("log", LOG.items, rows, "")
    with pytest.raises(DataError, match=r"SplitSettings.test_from needs interactions with times since 1970"):
        split_by_time(positions, SplitSettings(kind="time", test_from="2024-06-08"))
    assert len(split_by_time(positions, SplitSettings(kind="time", test_from=0.9)).test)


@pytest.mark.parametrize("value", ["June", 1.5, 0.0])
def test_a_date_or_share_must_be_one(value: object) -> None:
    with pytest.raises(ValidationError):
        SplitSettings(test_from=value)  # type: ignore[arg-type]


def test_no_interaction_from_the_test_period_on_is_trained_on() -> None:
    rng = np.random.default_rng(0)
    rows = sorted((int(rng.integers(20)), int(rng.integers(10)), int(rng.integers(100))) for _ in range(500))
    rows = sorted(rows, key=lambda row: (row[0], row[2]))
    log = dataset(rows)
    split = split_by_time(log, SplitSettings(kind="time", test_from=0.8))
    times_I = log.interactions["timestamp"].to_numpy()
    assert times_I[split.is_train_I].max() < times_I[~split.is_train_I].min()
    assert 0.6 < split.is_train_I.mean() < 0.8
