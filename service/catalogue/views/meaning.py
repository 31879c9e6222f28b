"""Looks up what prefixes of semantic IDs stand for, in the form of the HTTP contract."""

from typing import Any

from rqrec.models.array_types import IntArray
from rqrec.models.bundle.meanings import Meanings

SHARE_DECIMALS = 4  # the bundle has float32, of which JSON would show digits that mean nothing


def meanings_of(known: Meanings | None, prefixes_MC: IntArray) -> list[dict[str, Any]]:
    """Returns the fields of `service.contract.tree.Meaning` for each of M prefixes.

    Args:
        known: The meanings of the model's bundle; None if the bundle has none.
        prefixes_MC: The first C codes of semantic IDs, integers, shape (M, C).
    """
    if known is None:
        return [{"attributes": [], "words": []} for _ in prefixes_MC]
    return [
        {
            "attributes": [{**one._asdict(), "share": round(one.share, SHARE_DECIMALS)} for one in meaning.attributes],
            "words": list(meaning.words),
        }
        for meaning in known.of(prefixes_MC)
    ]
