"""Looks up what prefixes of semantic IDs stand for, in the form of the HTTP contract."""

from typing import Any

from rqrec.models.array_types import IntArray
from rqrec.models.bundle.meanings import Meanings


def meanings_of(known: Meanings | None, prefixes_MC: IntArray) -> list[dict[str, Any]]:
    """Returns the fields of `service.contract.tree.Meaning` for each of M prefixes.

    Args:
        known: The meanings of the model's bundle; None if the bundle has none.
        prefixes_MC: The first C codes of semantic IDs, integers, shape (M, C).
    """
    if known is None:
        return [{"attributes": [], "words": []} for _ in prefixes_MC]
    return [
        {"attributes": [attribute._asdict() for attribute in one.attributes], "words": list(one.words)}
        for one in known.of(prefixes_MC)
    ]
