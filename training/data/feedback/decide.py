"""Decides what ratings and event types mean: each interaction gets a training weight and an event type.

A dislike has the weight 0: the model reads it in the user's history, with its type, but it is never a training target.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from rqrec.training.data.compact.distinct_texts import DistinctTexts
from rqrec.training.data.dataset import EVENT_TYPE, RATING, TYPE, WEIGHT
from rqrec.training.data.feedback.checks import MAX_EVENT_TYPES, counted
from rqrec.training.data.feedback.rating_scale import LIKED, NEUTRAL, disliked_in, rating_scale
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DISLIKE, EXCLUDE, IGNORE, DatasetSettings

DISLIKED = "disliked"
# Names of event types without case, `_`, `-` and spaces, whose meaning is beyond doubt.
DISLIKE_NAMES = {
    *("dislike", "disliked", "downvote", "thumbsdown", "thumbdown", "unlike", "notinterested"),
    *("removefromcart", "removefromwishlist", "refund", "refunded", "uninstall"),
    *("return", "returned", "cancel", "cancelled", "canceled", "cancellation", "chargeback"),
    *("retoure", "retourniert", "storno", "storniert"),
}
IGNORED_NAMES = {"impression", "impressions", "itemimpression", "exposure"}


class Feedback(NamedTuple):
    """Interactions with a training weight and an event type instead of ratings and event names.

    Attributes:
        interactions: The interactions that training reads. Those whose event type is ignored, or only excludes an item
            from recommendations, are left out. The columns `rating` and `event_type` are replaced by `weight`
            (float32) if weights differ, and by `type` (int8) if types differ; see `Dataset`.
        event_types: The names of the event types. Type number n in `interactions` is `event_types[n - 1]`.
        excluding_types: The names of event types that only exclude an item from the user's recommendations, such as
            "hidden".
        disliking_types: The names of those `event_types` that are dislikes.
    """

    interactions: pl.DataFrame
    event_types: tuple[str, ...]
    excluding_types: tuple[str, ...]
    disliking_types: tuple[str, ...]


def decide_feedback(
    frame: pl.DataFrame,
    settings: DatasetSettings,
    *,
    path: str,
    report: DataReport,
    known_types: tuple[str, ...] | None = None,
) -> Feedback:
    """Converts ratings and event types to a training weight and an event type for each interaction.

    Interactions without ratings and event types are returned unchanged.

    Args:
        frame: Checked interactions, with the columns `rating` (float64) and `event_type` (categorical) if the data has
            them.
        settings: The thresholds of ratings for likes and dislikes, and what each event type does.
        path: Name of the interactions file, for messages.
        report: Receives a line for every decision. If no interaction can be a training target, it also receives this
            fault, unless there are other faults already: corrected rows may be targets.
        known_types: The event types that a trained model reads, in the order of their numbers; other types are unknown
            to it. None for a model that is still to be trained, which reads the types of this data.
    """
    rows = len(frame)
    kinds = pl.Categorical(pl.Categories.random(physical=pl.UInt8))
    frame = frame.with_columns(pl.lit(1.0, pl.Float32).alias(WEIGHT), pl.lit(None, kinds).alias(TYPE))
    actions: dict[str, float | str] = {}
    if EVENT_TYPE in frame.columns:
        frame, actions = _decide_events(frame, settings, path, report, may_drop=known_types is None)
    if RATING in frame.columns:
        frame = _decide_ratings(frame, settings, path, report)
        actions = {DISLIKED: DISLIKE, **actions}
    if known_types is None and not (frame[WEIGHT] > 0).any() and not report.faults:
        report.refuse(_no_target(len(frame), rows - len(frame), path))
    return _numbered(frame, actions) if known_types is None else _as_known(frame, actions, known_types)


def _no_target(num_disliked: int, num_dropped: int, path: str) -> str:
    if not num_disliked:
        return (
            f"{path}: training needs interactions, but all {num_dropped:,} have an event type that is ignored or only "
            "excludes the item: set DatasetSettings.event_types"
        )
    others = f" ({num_dropped:,} whose event type is ignored or only excludes are not counted)" if num_dropped else ""
    return (
        f"{path}: training needs interactions that are no dislikes, but all {num_disliked:,} are dislikes or have the "
        f"weight 0{others}: correct the ratings or event types, or set DatasetSettings.disliked_below or event_types"
    )


def _numbered(frame: pl.DataFrame, actions: Mapping[str, float | str]) -> Feedback:
    """Replaces names of types by numbers, and leaves out weights or types that are all the same."""
    names: tuple[str, ...] = ()
    if frame[TYPE].n_unique() > 1:
        names = tuple(frame[TYPE].drop_nulls().unique().cast(pl.String).sort())
        frame = _with_numbers(frame, names)
    else:
        frame = frame.drop(TYPE)
    if frame[WEIGHT].n_unique() == 1:
        frame = frame.drop(WEIGHT)
    excluding = tuple(name for name, action in actions.items() if action == EXCLUDE)
    disliking = tuple(name for name in names if actions.get(name) == DISLIKE)
    return Feedback(frame.drop(RATING, EVENT_TYPE, strict=False), names, excluding, disliking)


def _as_known(frame: pl.DataFrame, actions: Mapping[str, float | str], names: tuple[str, ...]) -> Feedback:
    """Replaces names of types by the numbers that a trained model knows; all others by 0."""
    excluding = tuple(name for name, action in actions.items() if action == EXCLUDE and name not in names)
    disliking = tuple(name for name in names if actions.get(name) == DISLIKE)
    return Feedback(_with_numbers(frame, names).drop(RATING, EVENT_TYPE, strict=False), names, excluding, disliking)


def _with_numbers(frame: pl.DataFrame, names: tuple[str, ...]) -> pl.DataFrame:
    """Replaces the name of each type by 1 + its place among `names`; any other, and none, by 0."""
    numbers = dict(zip(names, range(1, len(names) + 1), strict=True))
    types = DistinctTexts.from_column(frame[TYPE])
    number_V = pl.Series([numbers.get(name, 0) for name in types.values_V], dtype=pl.Int8)
    return frame.with_columns(types.spread(number_V).fill_null(0))


def _decide_events(
    frame: pl.DataFrame, settings: DatasetSettings, path: str, report: DataReport, *, may_drop: bool
) -> tuple[pl.DataFrame, dict[str, float | str]]:
    """Decides what every event type does; see `DatasetSettings.event_types` for the actions."""
    counts = counted(frame[EVENT_TYPE])
    names = counts[EVENT_TYPE].to_list()
    if not names:
        report.note_not_used(path, EVENT_TYPE, "it is empty")
        return frame, {}
    if len(names) > MAX_EVENT_TYPES:
        reason = f"it has {len(names):,} different values, and at most {MAX_EVENT_TYPES} can be types"
        report.note_not_used(path, EVENT_TYPE, reason)
        return frame, {}
    actions = {name: settings.event_types.get(name, _usual_action(name)) for name in names}
    if may_drop and len(names) == 1 and actions[names[0]] == 1.0 and not frame[EVENT_TYPE].null_count():
        report.note_not_used(path, EVENT_TYPE, f"all its values are {names[0]!r}")
        return frame, {}
    told = [f"{name!r} {_told(actions[name])} ({count:,})" for name, count in counts.iter_rows()]
    report.note(f"{path}: event types: {'; '.join(told)}; DatasetSettings.event_types changes this")
    dropped = [name for name in names if actions[name] in (EXCLUDE, IGNORE)]
    if dropped:
        frame = report.keep(frame, ~frame[EVENT_TYPE].is_in(dropped).fill_null(False))
    types = DistinctTexts.from_column(frame[EVENT_TYPE])
    weights = {name: 0.0 if isinstance(action, str) else action for name, action in actions.items()}
    weight_V = pl.Series([weights[name] for name in types.values_V], dtype=pl.Float32)
    kind_V = types.values_V.cast(frame[TYPE].dtype)
    weight = types.spread(weight_V).fill_null(1.0)
    return frame.with_columns(weight.alias(WEIGHT), types.spread(kind_V).alias(TYPE)), actions


def _usual_action(name: str) -> float | str:
    plain = re.sub(r"[\s_-]", "", name).lower()
    return DISLIKE if plain in DISLIKE_NAMES else IGNORE if plain in IGNORED_NAMES else 1.0


def _told(action: float | str) -> str:
    if action == DISLIKE:
        return "is a dislike: read in the history, never a target"
    if action == EXCLUDE:
        return "is not read here; in a request, it keeps its item out of the list"
    return "is ignored" if action == IGNORE else f"counts {action:g}"


def _decide_ratings(frame: pl.DataFrame, settings: DatasetSettings, path: str, report: DataReport) -> pl.DataFrame:
    scale = rating_scale(frame[RATING], settings, path=path, report=report)
    if scale is None:
        return frame
    rating, has_types = pl.col(RATING), frame[TYPE].null_count() < len(frame)
    is_disliked = disliked_in(rating, scale)
    liked, neutral, disliked = (pl.lit(name).cast(frame[TYPE].dtype) for name in (LIKED, NEUTRAL, DISLIKED))
    of_rating = pl.when(rating >= scale.liked_from).then(liked).when(rating.is_not_null()).then(neutral)
    kind = pl.when(is_disliked).then(disliked).otherwise(pl.col(TYPE) if has_types else of_rating)
    position = ((rating - scale.lowest) / (scale.highest - scale.lowest)).fill_null(1.0)
    weight = pl.col(WEIGHT) * (1 - settings.rating_weight * (1 - position))
    # The streaming engine works out a few rows at a time, so that no intermediate result stands in memory for all rows.
    decided = frame.lazy().select(
        pl.when(is_disliked).then(0.0).otherwise(weight).cast(pl.Float32).alias(WEIGHT), kind.alias(TYPE)
    )
    return frame.with_columns(decided.collect(engine="streaming").rechunk())
