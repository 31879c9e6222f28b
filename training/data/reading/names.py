"""Finds the columns that training needs in the input files, where they may have other names.

A standard name is the name of such a column in training: user_id, item_id, timestamp, rating or event_type.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches

from rqrec.training.data.dataset import EVENT_TYPE, ITEM_ID, RATING, TIMESTAMP, USER_ID, DataError
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import IGNORE, DatasetSettings

INTERACTIONS, ITEMS = TABLES = "interactions", "items"
LOG_ONLY = (USER_ID, TIMESTAMP, RATING, EVENT_TYPE)
# Names without case, `_`, `-` and spaces. Of several, the first that a table has is read. Sources: Amazon reviews of
# 2014 and 2018 (reviewerID, asin, unixReviewTime) and 2023 (parent_asin), gorse (time_stamp), Vertex AI (visitorId,
# userPseudoId, eventTime, productDetails or documents; `id` in the catalogue). Ratings: `overall` (Amazon), `stars`
# (Yelp). Event types: feedback_type (gorse), eventType (Vertex AI), `event` (Retailrocket), behavior_type (Taobao).
# Plain words such as `user` are last.
KNOWN_NAMES: Mapping[str, Mapping[str, Sequence[str]]] = {
    INTERACTIONS: {
        USER_ID: ("userid", "reviewerid", "visitorid", "userpseudoid", "user"),
        ITEM_ID: ("itemid", "parentasin", "asin", "productdetails.product.id", "documents.id", "item"),
        TIMESTAMP: ("timestamp", "unixreviewtime", "eventtime", "datetime", "time", "date"),
        RATING: ("rating", "overall", "stars"),
        EVENT_TYPE: ("eventtype", "event", "feedbacktype", "behaviortype"),
    },
    ITEMS: {ITEM_ID: ("itemid", "parentasin", "asin", "id", "item")},
}
DAY_AND_CLOCK = {"date", "time"}  # side by side, each may be half of a time, so neither is known


def resolve_names(
    columns: Sequence[str], table: str, mapping: Mapping[str, str], *, path: str, report: DataReport
) -> dict[str, str]:
    """Finds the column of each standard name in a file. A standard name is the name in training, such as user_id.

    The column that the settings name comes first, then the column with the standard name itself, then a column with
    another well-known name, such as `reviewerID` for user_id.

    Args:
        columns: The names of the columns in the file.
        table: "interactions" or "items".
        mapping: `DatasetSettings.columns`, such as {"user_id": "CustomerID"}.
        path: Name of the file, for messages.
        report: Receives a line for every column whose name in the file is not the standard name.

    Returns:
        For each standard name that was found, the name of the column in the file, such as {"user_id": "CustomerID"}.

    Raises:
        DataError: If two columns match the same well-known name, or the settings name one column twice.
    """
    found: dict[str, str] = {}
    for key, name in sorted(mapping.items(), key=lambda entry: "." in entry[0]):  # a key with a prefix is last and wins
        if table in _tables_of(key) and name in columns:
            found[key.rpartition(".")[2]] = name
    if twice := [key for key, name in found.items() if list(found.values()).count(name) > 1]:
        raise DataError(
            f"{path}: DatasetSettings.columns reads {' and '.join(twice)} from one column, {found[twice[0]]!r}: name "
            "another column, or remove one of the two entries"
        )
    for standard, known in KNOWN_NAMES[table].items():
        if standard not in found:
            free = [name for name in columns if name not in found.values()]
            known_name = standard if standard in columns else _known_name(free, standard, known, path, mapping)
            found |= {} if known_name is None else {standard: known_name}
    for standard, name in found.items():
        if name != standard:
            report.note(f"{path}: column {name!r} is read as {standard}")
    return found


def read_of_log(names: Mapping[str, str], settings: DatasetSettings) -> dict[str, str]:
    """Returns the columns of the interactions file that training reads.

    Args:
        names: The columns that were found: each column's name in the file by its standard name, from `resolve_names`.
        settings: Whether times, ratings and event types are used or ignored.

    Returns:
        `names` without the columns that the settings ignore.
    """
    ignored = ignored_of_log(settings)
    return {
        standard: names[standard]
        for standard in KNOWN_NAMES[INTERACTIONS]
        if standard in names and standard not in ignored
    }


def ignored_of_log(settings: DatasetSettings) -> set[str]:
    """Returns the standard names of the interaction columns that the settings ignore, such as {"rating"}."""
    uses = {TIMESTAMP: settings.times, RATING: settings.ratings, EVENT_TYPE: settings.events}
    return {standard for standard, use in uses.items() if use == IGNORE}


def require_mapped(mapping: Mapping[str, str], tables: Mapping[str, Sequence[str]], path: str) -> None:
    """Checks that the input files have every column that `DatasetSettings.columns` names.

    Args:
        mapping: `DatasetSettings.columns`, such as {"items.item_id": "sku"}.
        tables: The names of the columns in the files, by table: "interactions" and, if it exists, "items".
        path: The folder of the files, for the message.

    Raises:
        DataError: If no table has a column of that name, or the key is unknown. With a prefix such as "items." before
            the standard name, only the table of the prefix counts. A name that is not a standard name is an attribute
            of the items.
    """
    for key, name in mapping.items():
        places = [table for table in tables if table in _tables_of(key)]
        if not any(name in tables[place] for place in places):
            prefix, _, standard = key.rpartition(".")
            if prefix not in ("", ITEMS) or standard not in KNOWN_NAMES[INTERACTIONS]:
                raise _unknown_key(key, name)
            has = "; ".join(f"{table}: {list(columns)}" for table, columns in tables.items())
            raise DataError(
                f"DatasetSettings.columns reads {key!r} from the column {name!r}, which {' and '.join(places)} in "
                f"{path} do not have: use one of these names: {has}"
            )


def columns_option(mapping: Mapping[str, str], added: Mapping[str, str]) -> str:
    """Returns the command-line option that sets `DatasetSettings.columns`, for messages that tell users what to type.

    >>> print(columns_option({"user_id": "who"}, {"item_id": "…"}))
    --set "DatasetSettings.columns={'user_id': 'who', 'item_id': '…'}"

    Args:
        mapping: The present value of `DatasetSettings.columns`. The option repeats these entries, because an option
            replaces the whole value.
        added: The entries to add: the name of a column in the file by its standard name.
    """
    text = re.sub(r'["$`\\]', r"\\\g<0>", repr({**mapping, **added}))
    return f'--set "DatasetSettings.columns={text}"'


def require_names(
    names: Collection[str], table: str, columns: Sequence[str], mapping: Mapping[str, str], *, path: str
) -> None:
    """Checks that the id columns of a table were found: user_id and item_id in interactions, item_id in items.

    Args:
        names: The standard names that `resolve_names` found.
        table: "interactions" or "items".
        columns: The names of all columns in the file.
        mapping: `DatasetSettings.columns`, for the message.
        path: Name of the file, for the message.

    Raises:
        DataError: If an id column is missing. The message shows the command-line option that names the column.
    """
    prefix, required = ("", (USER_ID, ITEM_ID)) if table == INTERACTIONS else (f"{ITEMS}.", (ITEM_ID,))
    missing = [name for name in required if name not in names]
    if missing:
        wanted = f"the columns {' and '.join(missing)}" if len(missing) > 1 else f"a column {missing[0]}"
        option = columns_option(mapping, {f"{prefix}{name}": "…" for name in missing})
        rest = [name for name in LOG_ONLY if table == INTERACTIONS and name not in {*names, *missing}]
        others = f" (and any {', '.join(rest)})" if rest else ""
        raise DataError(
            f"{path} must have {wanted}, but has {list(columns)}: name what holds the ids{others} by {option}"
        )


def _tables_of(key: str) -> Sequence[str]:
    """Returns the tables in which an entry of `DatasetSettings.columns` can name a column."""
    prefix, _, standard = key.rpartition(".")
    if prefix:
        is_known = prefix == ITEMS or (prefix == INTERACTIONS and standard in KNOWN_NAMES[INTERACTIONS])
        return (prefix,) if is_known else ()
    return TABLES if standard == ITEM_ID else (INTERACTIONS,) if standard in LOG_ONLY else (ITEMS,)


def _unknown_key(key: str, name: str) -> DataError:
    known = list(KNOWN_NAMES[INTERACTIONS])
    meant = get_close_matches(key.rpartition(".")[2], known, n=1)
    hint = f" (did you mean {meant[0]!r}?)" if meant else ""
    return DataError(
        f"DatasetSettings.columns has the unknown key {key!r}{hint}: use one of {known}, with 'interactions.' or "
        "'items.' before it if it holds for one table only; any other key is an attribute of the items, which have no "
        f"column {name!r}"
    )


def _known_name(
    columns: Sequence[str], standard: str, known: Sequence[str], path: str, mapping: Mapping[str, str]
) -> str | None:
    plain = [re.sub(r"[\s_-]", "", column).lower() for column in columns]
    if set(plain) >= DAY_AND_CLOCK:
        known = [name for name in known if name not in DAY_AND_CLOCK]
    for name in known:
        matches = [column for column, one in zip(columns, plain, strict=True) if one == name]
        if len(matches) > 1:
            raise DataError(
                f"{path} must have one column for {standard}, but has {matches}: name one of them, such as by "
                f"{columns_option(mapping, {standard: matches[0]})}"
            )
        if matches:
            return matches[0]
    return None
