"""Detects columns that do not describe items: constants, ids, row numbers, web and image addresses, dates."""

import re

import polars as pl

VALUES = "values"
MOST = 0.9  # share of the values that must be of a kind
CODE_SHARE = 0.8  # share of codes among the values of a column of codes
REPEATED = 0.5  # share of distinct values up to which an id names groups of items, such as brands
FEWEST_ROWS = 10  # fewer rows than this may hold 1, 2, 3 … by chance
FEWEST_DIGITS = 9
CONSTANT = 1e-6  # a number is constant if its standard deviation is at most this share of its mean
ADDRESS = r"(?i)^(https?|ftp|s3|gs)://\S+$|^www\.\S+$|^//\S+\.\S+$|^data:\S+$"
IMAGE = r"(?i)^\S+\.(jpe?g|png|gif|webp|svg|bmp|tiff?|avif)(\?\S*)?$"
DAY = r"(\d{4}-\d{2}-\d{2}|\d{1,2}[./-]\d{1,2}[./-](\d{4}|\d{2}))"
DATE = rf"^{DAY}([T ]\d{{2}}:\d{{2}}(:\d{{2}}(\.\d+)?)?(Z|[+-]\d{{2}}:?\d{{2}})?)?$"
CODE = r"^[\x21-\x7E]*\d[\x21-\x7E]*$"  # printable ASCII with a digit and without a space
UNIX_TIMES = ((10**9, 22 * 10**8), (10**12, 22 * 10**11))  # in seconds and milliseconds, up to the year 2039
ID_WORDS = {"id", "ids", "uuid", "guid", "key", "code", "sku", "isbn", "ean", "upc", "gtin", "asin", "barcode", "zip"}


def why_not_content(column: pl.Series) -> str:
    """Returns the reason why a column says nothing about what the items are, such as "dates"; "" if there is none.

    Args:
        column: The values of one attribute, in the order of the items table.
    """
    values = column.alias(VALUES)  # a plain name, because polars reads names such as "*" as patterns
    if is_constant(values):
        return "all items have the same"
    if values.dtype.is_temporal():
        return "dates"
    if values.dtype.is_numeric():
        return _why_not_quantity(values, column.name)
    words = _words(values)
    if words is None:
        return ""
    return _why_not_words(words, is_list=values.dtype != pl.String) if len(words) else "all values are missing"


def are_codes(column: pl.Series) -> bool:
    """Returns whether a column of strings, or of lists of strings, holds codes such as B00X4WHP5E and not words."""
    words = _words(column.alias(VALUES))
    return words is not None and bool(len(words)) and _share(words, CODE) >= CODE_SHARE


def is_number_of_group(column: pl.Series) -> bool:
    """Returns whether a column of numbers holds ids of groups of items, such as brand_id.

    This is so if the numbers are whole, at most half of them are different, and the name of the column ends in a word
    such as id or code.
    """
    whole = _whole(column.alias(VALUES))
    return whole is not None and _is_named_as_id(column.name) and whole.n_unique() <= REPEATED * len(whole)


def is_constant(column: pl.Series) -> bool:
    """Returns whether all values of a column are equal. Numbers that differ by rounding only count as equal.

    Whole numbers do not differ by rounding. A column with a missing value is not constant; a column without rows is.
    """
    if column.null_count() or not len(column):
        return not len(column)
    if column.dtype.is_float():
        deviation, mean = column.std(ddof=0), column.mean()
        assert isinstance(deviation, float)
        assert isinstance(mean, float)
        is_rounding = column.is_finite().all() and deviation <= CONSTANT * abs(mean)
        return is_rounding and (column.n_unique() == 1 or not (column == column.floor()).all())
    if isinstance(column.dtype, pl.List):
        return column.list.join("\0").n_unique() == 1 if column.dtype.inner == pl.String else False
    if isinstance(column.dtype, pl.Array):
        vectors = column.to_numpy()
        return bool((vectors == vectors[:1]).all())
    return column.n_unique() == 1


def _words(values: pl.Series) -> pl.Series | None:
    """The strings of a column, or of its lists, without spaces around them; None if it holds no strings."""
    if values.dtype == pl.List(pl.String):
        values = values.explode()
    if values.dtype != pl.String:
        return None
    words = values.drop_nulls().str.strip_chars()
    return words.filter(words != "")


def _why_not_words(words: pl.Series, *, is_list: bool) -> str:
    for pattern, reason in ((IMAGE, "addresses of images"), (ADDRESS, "web addresses"), (DATE, "dates")):
        if _share(words, pattern) >= MOST:
            return reason
    is_id = not is_list and _share(words, CODE) >= CODE_SHARE and words.n_unique() >= MOST * len(words)
    return "ids: almost all differ" if is_id else ""


def _share(words: pl.Series, pattern: str) -> float:
    return float(words.str.contains(pattern).sum()) / len(words)


def _why_not_quantity(values: pl.Series, name: str) -> str:
    if values.dtype.is_float() and not values.is_finite().any():
        return "all values are missing"
    whole = _whole(values)
    if whole is None:
        return ""
    distinct = whole.n_unique()
    if len(whole) == len(values) and _are_row_numbers(whole, distinct):
        return "the numbers of the rows"
    if _is_named_as_id(name) and distinct > REPEATED * len(whole):
        return "ids: by its name, and few items share one"
    if distinct == len(whole) >= FEWEST_ROWS and _have_equal_length(whole):
        return "ids: long numbers that all differ"
    return ""


def _whole(values: pl.Series) -> pl.Series | None:
    """The numbers of a column as integers; None if it holds others, or none. pandas writes integers as floats."""
    numbers = values.drop_nulls()
    if numbers.dtype.is_float():
        numbers = numbers.filter(numbers.is_finite())
        if (numbers != numbers.floor()).any() or (numbers.abs() >= 2**63).any():
            return None
    return numbers.cast(pl.Int64, strict=False).drop_nulls() if len(numbers) else None


def _are_row_numbers(whole: pl.Series, distinct: int) -> bool:
    first, last = whole.min(), whole.max()
    assert isinstance(first, int)
    assert isinstance(last, int)
    if len(whole) < FEWEST_ROWS or distinct != len(whole) or last - first != len(whole) - 1:
        return False
    return first in (0, 1) or bool((whole.diff().drop_nulls() == 1).all())


def _is_named_as_id(name: str) -> bool:
    """Returns whether the last word of a name is that of an id, as in brand_id, BrandId, details.sku or isbn13."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return bool(words) and words[-1].lower() in ID_WORDS


def _have_equal_length(whole: pl.Series) -> bool:
    least, most = whole.min(), whole.max()
    assert isinstance(least, int)
    assert isinstance(most, int)
    is_time = any(begin <= least and most < end for begin, end in UNIX_TIMES)
    return least > 0 and len(str(least)) == len(str(most)) >= FEWEST_DIGITS and not is_time
