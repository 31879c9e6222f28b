"""Reads numbers as people write them: with a currency, a decimal comma, or separators of thousands.

`1.299` can mean 1.299 or 1299. So all values of a column are read together: one value such as `12,99` or `1.299,00`
shows which character is the decimal mark in the whole column.
"""

from collections.abc import Iterable
from typing import NamedTuple

import polars as pl

CODES = (
    "USD|EUR|GBP|JPY|CNY|INR|CHF|SEK|NOK|DKK|PLN|CZK|HUF|RON|BGN|TRY|RUB|UAH|BRL|MXN|ARS|CAD|AUD|NZD|KRW|SGD|HKD|TWD|"
    "THB|IDR|VND|ILS|ZAR|AED|SAR"
)
CURRENCY = rf"R\$|[$€£¥₹₽₩₺₴₫₪฿]|zł|kr\.?|Kč|Ft|lei|Fr\.|{CODES}"
SPACES = r"'’\s"  # between thousands, beside the marks `.` and `,`
NUMBER = rf"[+-]?[0-9]+(?:[.,{SPACES}][0-9]+)*"  # polars would match digits of other alphabets by \d
WRITTEN = rf"^(?:({CURRENCY})\s?)?({NUMBER})(?:[.,][-–])?(?:\s?({CURRENCY}))?$"  # `12,-` is a whole price
LEADING_ZERO = r"^[+-]?0[0-9]"
TOO_LONG = r"[0-9]{16}"  # an id: float64 would not keep its digits
OTHER = {".": ",", ",": "."}


class WrittenNumbers(NamedTuple):
    """The numbers that were read from a column of text.

    Attributes:
        numbers: The numbers, float64; null for a missing value.
        currency: The currency of all values, such as "€"; empty if they have none.
        is_sure: Whether the decimal mark is certain: a value shows it, a setting names it, or no value has a `.` or
            `,`. If False, each `.` or `,` was read as a separator of thousands.
    """

    numbers: pl.Series
    currency: str
    is_sure: bool


def written_numbers(values: pl.Series, *, decimal: str = "auto") -> WrittenNumbers | None:
    """Reads a text column of numbers such as "1.299,00 €".

    Args:
        values: Texts without spaces around them; null for a missing value.
        decimal: The decimal mark: "." or ",", or "auto" to detect it from the values.

    Returns:
        The numbers. None if a value is not a number or looks like an id (a leading zero, or 16 digits and more), or if
        two values have different currencies or decimal marks.
    """
    if not values.str.contains(WRITTEN).all():
        return None
    groups = values.str.extract_groups(WRITTEN).struct
    before, written, after = (groups[at] for at in range(3))
    present = pl.DataFrame([before.alias("before"), after.alias("after"), written.alias("text")]).drop_nulls("text")
    currencies = present.select(pl.coalesce("before", "after", pl.lit(""))).to_series().unique()
    texts = present["text"].unique()
    marks = sure_marks(texts) if decimal == "auto" else {decimal}
    if len(currencies) != 1 or len(marks) > 1 or texts.str.contains(f"{LEADING_ZERO}|{TOO_LONG}").any():
        return None
    used = {mark for mark in OTHER if texts.str.contains(mark, literal=True).any()}
    if not marks and len(used) > 1:
        return None
    (point,) = marks or {OTHER[mark] for mark in used} or {"."}
    thousands = rf"[{OTHER[point]}{SPACES}]"
    if not texts.str.contains(rf"^[+-]?(?:[0-9]+|[0-9]{{1,3}}(?:{thousands}[0-9]{{3}})+)(?:[{point}][0-9]+)?$").all():
        return None
    plain = written.str.replace_all(thousands, "").str.replace(point, ".", literal=True)
    return WrittenNumbers(plain.cast(pl.Float64), currencies[0], bool(marks) or not used)


def sure_marks(texts: Iterable[str]) -> set[str]:
    """Returns the decimal marks, `.` or `,`, that at least one text proves.

    `12,99` proves `,`; `1,299,000` proves `.`; `1.299` proves nothing, because it can also mean 1299.

    >>> sorted(sure_marks(["1.299", "12,99"])), sorted(sure_marks(["1.299", "1.050"])), sorted(sure_marks(["1,299.00"]))
    ([','], [], ['.'])

    Args:
        texts: Numbers as they were written.
    """
    sure = set()
    for text in texts:
        marks = [character for character in text if character in OTHER]
        if not marks:
            continue
        whole, _, rest = text.lstrip("+-").rpartition(marks[-1])
        if len(set(marks)) > 1 or (len(marks) == 1 and (len(rest) != len("000") or len(whole) > len("000"))):
            sure.add(marks[-1])
        elif len(marks) > 1:  # between millions, and between thousands
            sure.add(OTHER[marks[-1]])
        elif whole == "0":
            sure.add(marks[-1])
    return sure
