"""The settings of the data: where it is, how its files are read, and what happens to rows that do not fit."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat
from pydantic.dataclasses import dataclass as settings_dataclass

DISLIKE, EXCLUDE, IGNORE = "dislike", "exclude", "ignore"
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@settings_dataclass(frozen=True)
class DatasetSettings:
    """The data to train on.

    Attributes:
        source: A MovieLens release ("ml-100k", "ml-1m", "ml-25m", "ml-32m", "ml-latest-small", "ml-latest") or the
            path of a folder.
        interactions: Name of the interactions' file in the folder; empty for `interactions.*`.
        items: Name of the items' file in the folder; empty for `items.*`.
        columns: The file's name of a column by its standard name, such as {"user_id": "CustomerID"}. The prefix
            "interactions." or "items." before a standard name limits the entry to one table.
        ignored_columns: Columns of the items' file that are not read.
        separator: The separator of CSV files; empty to detect it in the first line.
        encoding: The encoding of CSV files, such as "cp1250"; empty to detect UTF-8, UTF-16 or Latin-1.
        quotes: Whether quotes in CSV files enclose values; otherwise they are characters like any other.
        decimal: The mark before decimals in text such as "12,99": "." or ","; "auto" to find it in each column.
        has_header: Whether the first line of CSV files names the columns. If not, their names are "column_1",
            "column_2" and so on, for `columns`.
        times: Whether the times of interactions are used ("auto": if there are any) or "ignore", which takes the order
            of the rows as the order in time.
        timestamp_format: The format of times in text, such as "%m/%d/%Y %H:%M". ISO 8601 needs none.
        unknown_items: What happens to interactions with an item that the items table lacks: "error", "drop" them, or
            "add" the item without attributes.
        duplicates: What happens to interactions that are equal in user, item and time: "error", "drop" all but one, or
            "keep" them. With "drop", the first of several rows of one item is kept as well.
        missing_users: What happens to interactions without a user: "error" or "drop" them.
        ratings: Whether the ratings of interactions are used ("auto": if they are on a known scale) or "ignore".
        disliked_below: A rating below this is a dislike, which is read in the history and never recommended for. "auto"
            is 3 of 5 stars, 6 of 10, 60 of 100, and 0 where ratings are negative too.
        liked_from: An interaction with this rating or a better one has the type "liked" in the history; "auto" is 4 of
            5 stars. With a rating between both it is "neutral", below both "disliked".
        rating_weight: How much less the lowest rating counts in training than the highest: 0 for the same, 1 for not.
        events: Whether the event types of interactions are used ("auto") or "ignore".
        event_types: What a type does, by its name: a number is the weight of such an interaction in training; "dislike"
            is read in the history and never recommended for; "exclude" only takes its item out of a user's lists;
            "ignore" does nothing. Other types have the weight 1, but names such as "dislike" or "remove_from_cart" are
            dislikes, and impressions are ignored.
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
    ratings: Literal["auto", "ignore"] = "auto"
    disliked_below: FiniteFloat | Literal["auto"] = "auto"
    liked_from: FiniteFloat | Literal["auto"] = "auto"
    rating_weight: Annotated[float, Field(ge=0, le=1)] = 0.0
    events: Literal["auto", "ignore"] = "auto"
    event_types: dict[str, Weight | Literal["dislike", "exclude", "ignore"]] = field(default_factory=dict)
