"""The option `--every` of commands that repeat their work: a time such as 60s, 5m, 1h or 1d."""

import argparse
import re

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def interval_s(text: str) -> float:
    """Returns the seconds of a time such as 60s, 5m, 1h or 1d; a type of `argparse`.

    >>> interval_s("24h")
    86400

    Args:
        text: A whole number without leading zeros, and a unit.

    Raises:
        argparse.ArgumentTypeError: If the text is no such time.
    """
    found = re.fullmatch(r"([1-9]\d{0,5})([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected a time such as 60s, 5m, 1h or 1d, got {text!r}")
    return int(found[1]) * SECONDS[found[2]]
