from typing import Any

import polars as pl
import pytest

from rqrec.training.data.feedback.rating_scale import disliked_in, rating_scale
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings

SCALES: dict[str, tuple[list[float | None], float, float]] = {
    "stars": ([1, 2, 3, 4, 5], 3, 4),
    "half stars": ([0.5, 2.5, 3.0, 3.5, 5.0], 3, 4),
    "only good ones": ([4, 5, 4, 5], 3, 4),
    "ten": ([5, 6, 9, 10], 6, 8),
    "percent": ([40, 70, 80, 95], 60, 80),
    "thumbs": ([0, 1, 1], 0.6, 0.8),
    "minus and plus": ([-1, 0, 1, 1], 0, 1),
    "around zero": ([-8.5, 2, 9.9], 0, 2),
}


def scale_of(ratings: list[float | None], report: DataReport | None = None, **settings: Any) -> Any:
    column = pl.Series("rating", ratings, dtype=pl.Float64)
    return rating_scale(column, DatasetSettings(**settings), path="log.csv", report=report or DataReport())


@pytest.mark.parametrize("name", SCALES)
def test_finds_the_scale(name: str) -> None:
    ratings, below, liked = SCALES[name]
    scale = scale_of(ratings)
    assert (scale.disliked_below, scale.liked_from) == (pytest.approx(below), pytest.approx(liked))


def test_a_missing_rating_is_no_dislike() -> None:
    ratings = pl.Series("rating", [1.0, None, 5.0, 5.0])
    disliked = ratings.to_frame().select(disliked_in(pl.col(ratings.name), scale_of(ratings.to_list())))
    assert disliked.to_series().to_list() == [True, False, False, False]


@pytest.mark.parametrize(
    ("ratings", "reason"),
    [
        ([1.0, 7.0, 5000.0], "numbers from 1 to 5000 are on no scale with the top"),
        ([-1.0, 7.0, 9.0, 10.0], "numbers from -1 to 10 are on no scale around 0; leave negative ones empty if"),
        ([0.0, 0.0, 0.0, 8.0, 9.0], "3 of 5 ratings would be dislikes .below 6.: set DatasetSettings.disliked_below"),
        ([None, None], "it is empty"),
        ([3.0, None, 3.0], "all its values are 3"),
    ],
)
def test_numbers_that_are_no_ratings_are_not_used_and_the_report_says_why(ratings: list[Any], reason: str) -> None:
    report = DataReport()
    assert scale_of(ratings, report) is None
    assert pl.Series(report.lines).str.contains(f"column rating is not used, because {reason}").all()


def test_settings_win_over_the_doubt() -> None:
    assert scale_of([0.0, 0.0, 0.0, 8.0], disliked_below=1).disliked_below == 1
    assert scale_of([1.0, 7.0, 5000.0], disliked_below=2, liked_from=6)[2:] == (2, 6)
