"""Numbers as people write them: with a currency, a decimal comma, and marks between thousands.

`1.299` is 1.299 to one writer and 1299 to another. So the values of a column are read together: one value such as
`12,99` or `1.299,00` tells how all are written.
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
NUMBER = rf"[+-]?\d+(?:[.,{SPACES}]\d+)*"
WRITTEN = rf"^(?:({CURRENCY})\s?)?({NUMBER})(?:[.,][-–])?(?:\s?({CURRENCY}))?$"  # `12,-` is a whole price
LEADING_ZERO = r"^[+-]?0\d"
TOO_LONG = r"\d{16}"  # an id: float64 would not keep its digits
OTHER = {".": ",", ",": "."}


class WrittenNumbers(NamedTuple):
    """A column of numbers as they were written.

    Attributes:
        numbers: The numbers, float64; null for a missing value.
        currency: The currency that all have; empty if none has one.
        is_sure: Whether a value or the setting tells which mark is before decimals, or there is no mark. If not, marks
            were taken to be between thousands.
    """

    numbers: pl.Series
    currency: str
    is_sure: bool


def written_numbers(values: pl.Series, *, decimal: str = "auto") -> WrittenNumbers | None:
    """Reads a column of numbers.

    Args:
        values: Texts without spaces around them; null for a missing value.
        decimal: The mark before decimals: `.` or `,`, or "auto" to find it.

    Returns:
        The numbers; None if a value is no number, or if two have different currencies or decimal marks.
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
    if not texts.str.contains(rf"^[+-]?(?:\d+|\d{{1,3}}(?:{thousands}\d{{3}})+)(?:[{point}]\d+)?$").all():
        return None
    plain = written.str.replace_all(thousands, "").str.replace(point, ".", literal=True)
    return WrittenNumbers(plain.cast(pl.Float64), currencies[0], bool(marks) or not used)


def sure_marks(texts: Iterable[str]) -> set[str]:
    """Returns the marks that must be before decimals, by at least one of the texts.

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
