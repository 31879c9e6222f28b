"""The settings of the data: where it is, how its files are read, and what happens to rows that do not fit."""

from dataclasses import field
from typing import Literal

from pydantic.dataclasses import dataclass as settings_dataclass


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
        has_header: Whether the first line of CSV files names the columns. If not, their names are "column_1",
            "column_2" and so on, for `columns`.
        timestamp_format: The format of times in text, such as "%m/%d/%Y %H:%M". ISO 8601 needs none.
        unknown_items: What happens to interactions with an item that the items table lacks: "error", "drop" them, or
            "add" the item without attributes.
        duplicates: What happens to interactions that are equal in user, item and time: "error", "drop" all but one, or
            "keep" them. With "drop", the first of several rows of one item is kept as well.
        missing_users: What happens to interactions without a user: "error" or "drop" them.
    """

    source: str = "ml-100k"
    interactions: str = ""
    items: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    ignored_columns: tuple[str, ...] = ()
    separator: str = ""
    encoding: str = ""
    quotes: bool = True
    has_header: bool = True
    timestamp_format: str = ""
    unknown_items: Literal["error", "drop", "add"] = "error"
    duplicates: Literal["error", "drop", "keep"] = "error"
    missing_users: Literal["error", "drop"] = "error"
