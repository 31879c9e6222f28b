"""The settings of the input data: where it is, how its files are read, and how bad rows are treated."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, FiniteFloat
from pydantic.dataclasses import dataclass as settings_dataclass

DISLIKE, EXCLUDE, IGNORE = "dislike", "exclude", "ignore"
ACTIONS = (DISLIKE, EXCLUDE, IGNORE)
MIN_WEIGHT, MAX_WEIGHT = 0.001, 1000.0  # of an event type that is a training target


def _action(action: float | str) -> float | str:
    if action in (0, *ACTIONS) or (isinstance(action, float) and MIN_WEIGHT <= action <= MAX_WEIGHT):
        return action
    raise ValueError(f"must be one of {ACTIONS}, a weight from {MIN_WEIGHT:g} to {MAX_WEIGHT:g}, or 0")


@settings_dataclass(frozen=True)
class DatasetSettings:
    """Settings of the training data: its source, how files are read, and what ratings and events mean.

    Attributes:
        source: A MovieLens release ("ml-100k", "ml-1m", "ml-25m", "ml-32m", "ml-latest-small", "ml-latest") or the
            path of a folder.
        interactions: Name of the interactions file in the folder; empty for `interactions.*`.
        items: Name of the items file in the folder; empty for `items.*`.
        columns: For columns that have other names in the files than in training (user_id, item_id, timestamp, rating,
            event_type): the name in the file by the name in training, such as {"user_id": "CustomerID"}. The prefix
            "interactions." or "items." before a name in training limits the entry to one table.
        ignored_columns: Columns of the items file that are not read.
        separator: The separator of CSV files; empty to detect it in the first line.
        encoding: The encoding of CSV files, such as "cp1250"; empty to detect UTF-8, UTF-16, cp1252 or Latin-1.
        quotes: Whether double quotes in CSV files enclose values. If not, a quote is part of the value.
        decimal: The decimal mark of numbers in text such as "12,99": "." or ","; "auto" to detect it in each column.
        has_header: Whether the first line of CSV files names the columns. If not, they get the names "column_1",
            "column_2" and so on, which can be used in `columns`.
        times: "auto" to use the times of interactions if there are any; "ignore" to take the order of the rows as the
            order in time.
        timestamp_format: The format of times in text, such as "%m/%d/%Y %H:%M". ISO 8601 needs none.
        unknown_items: What happens to interactions with an item that the items table lacks: "error", "drop" them, or
            "add" the item without attributes.
        duplicates: What happens to interactions that are equal in user, item, time and type (of the event or of the
            rating): "error", "drop" all but one, or "keep" them. If the items table has several rows of one item,
            "drop" keeps the first row, and any other value raises an error.
        missing_users: What happens to interactions without a user: "error" or "drop" them.
        missing_values: What happens to interactions without an item or a time, and to rows of the items table without
            an id: "error" or "drop" them.
        ratings: "auto" to use the ratings of interactions if their scale is known; "ignore" not to use them.
        disliked_below: A rating below this is a dislike: the model reads it in the history, but it is never a training
            target. "auto" is 3 of 5 stars, 6 of 10, 60 of 100, and 0 if there are negative ratings.
        liked_from: In data with ratings and without event types, ratings become the event types of the history. A
            rating of at least `liked_from` is "liked", one below `disliked_below` is "disliked", others are "neutral".
            "auto" is 4 of 5 stars, and the lowest positive rating if there are negative ratings.
        rating_weight: How much less an interaction with a low rating weighs in training, in [0, 1]. The weight is 1 for
            the highest rating in the data and 1 - rating_weight for the lowest, and linear between them.
        events: "auto" to use the event types of interactions; "ignore" not to use them.
        event_types: What an event type does, such as {"purchase": 2.0, "hide": "exclude"}. A number is the weight of
            such an interaction in training, from 0.001 to 1000; 0: the model reads it in the history, but it is never a
            training target. "dislike": the same as 0, and an item whose last event is a dislike is not recommended.
            "exclude": the item is only excluded from the user's recommendations. "ignore": the interaction is dropped.
            Types that are not named have the weight 1; but names such as "dislike" or "remove_from_cart" are dislikes,
            and impressions are ignored.
    """

    source: str = "ml-100k"
    interactions: str = ""
    items: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    ignored_columns: tuple[str, ...] = ()
    separator: str = ""
    encoding: str = ""
    quotes: bool = True
    decimal: Literal["auto", ".", ","] = "auto"
    has_header: bool = True
    times: Literal["auto", "ignore"] = "auto"
    timestamp_format: str = ""
    unknown_items: Literal["error", "drop", "add"] = "error"
    duplicates: Literal["error", "drop", "keep"] = "error"
    missing_users: Literal["error", "drop"] = "error"
    missing_values: Literal["error", "drop"] = "error"
    ratings: Literal["auto", "ignore"] = "auto"
    disliked_below: FiniteFloat | Literal["auto"] = "auto"
    liked_from: FiniteFloat | Literal["auto"] = "auto"
    rating_weight: Annotated[float, Field(ge=0, le=1)] = 0.0
    events: Literal["auto", "ignore"] = "auto"
    event_types: dict[str, Annotated[float | str, AfterValidator(_action)]] = field(default_factory=dict)
