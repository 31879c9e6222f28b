"""Finds the scale of ratings: which ratings mean that the user liked an item, and which mean a dislike."""

from typing import NamedTuple

import polars as pl

from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings

LIKED, NEUTRAL = "liked", "neutral"
SCALE_TOPS = (1, 5, 10, 100)
DISLIKED_SHARE, LIKED_SHARE = 0.6, 0.8  # of the top: below 3 of 5 stars is a dislike, 4 of 5 is a like
# Share of the highest rating that the lowest one of a scale around 0 reaches. Less is a mark, such as -1 beside 10.
LEAST_NEGATIVE = 0.5
MAX_DISLIKED = 0.5  # share of the ratings; more means that the numbers are no ratings, or that 0 means "not rated"


class RatingScale(NamedTuple):
    """The range of ratings, and the thresholds of likes and dislikes.

    Attributes:
        lowest: The lowest rating in the data.
        highest: The highest rating in the data.
        disliked_below: A rating below this number is a dislike.
        liked_from: A rating of this number or more is a like.
    """

    lowest: float
    highest: float
    disliked_below: float
    liked_from: float


def rating_scale(ratings: pl.Series, settings: DatasetSettings, *, path: str, report: DataReport) -> RatingScale | None:
    """Finds the range of ratings, and the thresholds of likes and dislikes.

    Args:
        ratings: The rating of each interaction, float64; null for an interaction without a rating.
        settings: The thresholds `disliked_below` and `liked_from`; "auto" to derive them from the ratings.
        path: Name of the interactions file, for the report.
        report: Receives a line with the thresholds, or with the reason why the ratings are not used.

    Returns:
        The scale. None if the ratings are not used: all are equal or missing, or a threshold is "auto" and cannot be
        derived, for example because more than half of the ratings would be dislikes.
    """
    given = ratings.drop_nulls()
    if given.n_unique() < 2:
        what = f"all its values are {given[0]:g}" if len(given) else "it is empty"
        report.note_not_used(path, ratings.name, what)
        return None
    lowest, highest = float(given.min()), float(given.max())  # type: ignore[arg-type]
    scale = _scale(given, lowest, highest, settings)
    if scale is None:
        which = (
            f"with the top {SCALE_TOPS}"
            if lowest >= 0
            else "around 0; leave negative ones empty if they mean no rating"
        )
        reason = f"numbers from {lowest:g} to {highest:g} are on no scale {which}"
        report.note_not_used(path, ratings.name, f"{reason}: set DatasetSettings.disliked_below and liked_from")
        return None
    disliked, liked = int((given < scale.disliked_below).sum()), int((given >= scale.liked_from).sum())
    if settings.disliked_below == "auto" and disliked > MAX_DISLIKED * len(given):
        reason = f"{disliked:,} of {len(given):,} ratings would be dislikes (below {scale.disliked_below:g})"
        report.note_not_used(path, ratings.name, f"{reason}: set DatasetSettings.disliked_below")
        return None
    report.note(
        f"{path}: ratings from {scale.lowest:g} to {scale.highest:g}: {disliked:,} of {len(given):,} are dislikes "
        f"(below {scale.disliked_below:g}; read in the history, never a target), {liked:,} are likes (from "
        f"{scale.liked_from:g}); DatasetSettings.disliked_below, liked_from and rating_weight change this"
    )
    return scale


def disliked_in(ratings: pl.Expr, scale: RatingScale) -> pl.Expr:
    """Returns for each interaction whether its rating is a dislike; False for an interaction without a rating.

    Args:
        ratings: The rating of each interaction, float64; null for an interaction without a rating.
        scale: The scale of these ratings.
    """
    return (ratings < scale.disliked_below).fill_null(value=False)


def _scale(given: pl.Series, lowest: float, highest: float, settings: DatasetSettings) -> RatingScale | None:
    top = next((top for top in SCALE_TOPS if highest <= top), None)
    is_known = top is not None if lowest >= 0 else -lowest >= LEAST_NEGATIVE * highest
    if not is_known and "auto" in (settings.disliked_below, settings.liked_from):
        return None
    if lowest < 0:
        usual = (0.0, float(given.filter(given > 0).min() or highest))  # type: ignore[arg-type]
    elif top is not None:
        usual = (DISLIKED_SHARE * top, LIKED_SHARE * top)
    else:
        usual = (lowest, highest)
    below, liked = settings.disliked_below, settings.liked_from
    return RatingScale(
        lowest, highest, usual[0] if below == "auto" else float(below), usual[1] if liked == "auto" else float(liked)
    )
