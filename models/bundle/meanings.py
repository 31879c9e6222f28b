"""Reads and writes the bundle's table of meanings: what the items below each prefix of semantic IDs have in common.

Shapes: M prefixes of one length, C codes of a prefix, L levels, V codes per level.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from rqrec.models.array_types import IntArray
from rqrec.models.trie.trie import pack_codes

PREFIX, ATTRIBUTES, WORDS = "prefix", "attributes", "words"
NAME, VALUE, SHARE = "name", "value", "share"
SCHEMA = {
    PREFIX: pl.List(pl.Int32),
    ATTRIBUTES: pl.List(pl.Struct({NAME: pl.String, VALUE: pl.String, SHARE: pl.Float32})),
    WORDS: pl.List(pl.String),
}
MOST = 5  # attribute values of a prefix, and words
LONGEST = 100  # characters of a value or word


class AttributeShare(NamedTuple):
    """A value of an attribute, and the share of a prefix's items that have it.

    Attributes:
        name: The name of the attribute.
        value: The value as text.
        share: The share of the items, in (0, 1].
    """

    name: str
    value: str
    share: float


class Meaning(NamedTuple):
    """What the items below a prefix have in common: at most `MOST` attribute values and as many words.

    Attributes:
        attributes: The commonest attribute values, the commonest first.
        words: The most telling words of the items' texts, the most telling first.
    """

    attributes: Sequence[AttributeShare] = ()
    words: Sequence[str] = ()


NO_MEANING = Meaning()


class Meanings:
    """The meaning of each prefix that has several items.

    In memory, a prefix takes about 300 bytes. A prefix has at least two items, so there are at most (L - 1) N / 2.

    Args:
        table: One row per prefix, with the columns of `SCHEMA`.
        codebook_size: V, the number of codes per level.
        levels: L, the number of codes in a semantic ID.

    Raises:
        ValueError: If a type is wrong, or a value is missing or out of range.
    """

    def __init__(self, table: pl.DataFrame, *, codebook_size: int, levels: int) -> None:
        _check(table, codebook_size, levels)
        self._table = table.select(ATTRIBUTES, WORDS)
        self._codebook_size = codebook_size
        lengths = table[PREFIX].list.len().to_numpy()
        self._keys_by_length: dict[int, tuple[IntArray, IntArray]] = {}
        for length in np.unique(lengths).tolist():
            rows = np.flatnonzero(lengths == length)
            flat = table[PREFIX].gather(rows).explode(empty_as_null=False).to_numpy()
            keys = pack_codes(flat.astype(np.int64).reshape(len(rows), length), codebook_size)
            order = np.argsort(keys)
            self._keys_by_length[length] = keys[order], rows[order]

    @property
    def nbytes(self) -> int:
        """The memory of the table, in bytes."""
        keys = sum(one.nbytes for pair in self._keys_by_length.values() for one in pair)
        return int(self._table.estimated_size()) + keys

    def of(self, prefixes_MC: IntArray) -> list[Meaning]:
        """Returns the meaning of each of M prefixes; an empty one for a prefix that has none.

        >>> war = {NAME: "genre", VALUE: "War", SHARE: 1.0}
        >>> table = pl.DataFrame({PREFIX: [[1]], ATTRIBUTES: [[war]], WORDS: [[]]}, schema=SCHEMA)
        >>> meanings = Meanings(table, codebook_size=4, levels=2)
        >>> meanings.of(np.array([[1], [2]]))
        [Meaning(attributes=[AttributeShare(name='genre', value='War', share=1.0)], words=[]), \
Meaning(attributes=(), words=())]

        Args:
            prefixes_MC: The first C codes of semantic IDs, integers of at least 0, shape (M, C).
        """
        found: list[Meaning] = [NO_MEANING] * len(prefixes_MC)
        known = self._keys_by_length.get(prefixes_MC.shape[1])
        if known is None or not found:
            return found
        keys, rows = known
        asked_M = pack_codes(prefixes_MC, self._codebook_size)
        at_M = np.minimum(np.searchsorted(keys, asked_M), len(keys) - 1)
        is_known_M = (keys[at_M] == asked_M) & (prefixes_MC < self._codebook_size).all(axis=1)
        chosen = self._table[rows[at_M[is_known_M]]].rows()
        for number, (attributes, words) in zip(np.flatnonzero(is_known_M).tolist(), chosen, strict=True):
            found[number] = Meaning([AttributeShare(**one) for one in attributes], words)
        return found


def read_meanings(path: Path, *, codebook_size: int, levels: int) -> Meanings:
    """Reads and checks the Parquet file of a bundle's meanings.

    Args:
        path: The path of the file.
        codebook_size: V, the number of codes per level.
        levels: L, the number of codes in a semantic ID.

    Raises:
        ValueError: If a type is wrong, or a value is missing or out of range.
    """
    return Meanings(pl.read_parquet(path, glob=False), codebook_size=codebook_size, levels=levels)


def _check(table: pl.DataFrame, codebook_size: int, levels: int) -> None:
    if dict(table.schema) != SCHEMA:
        raise ValueError(f"expected the columns {SCHEMA}, got {dict(table.schema)}")
    codes = table[PREFIX].explode().drop_nulls().to_numpy()
    too_long = (table[PREFIX].list.len() > levels).any() or any(
        (table[name].list.len() > MOST).any() for name in (ATTRIBUTES, WORDS)
    )
    if sum(table.null_count().row(0)) or too_long or ((codes < 0) | (codes >= codebook_size)).any():
        raise ValueError(
            f"expected prefixes of at most {levels} codes in [0, {codebook_size}), with at most {MOST} attribute "
            "values and words each"
        )
    shares = table[ATTRIBUTES].explode().struct.field(SHARE).drop_nulls().to_numpy()
    if not ((shares > 0) & (shares <= 1)).all():
        raise ValueError("every share must be above 0 and at most 1")
    is_missing = pl.element().struct.field(NAME).is_null() | pl.element().struct.field(VALUE).is_null()
    nulls = table.select(
        pl.col(ATTRIBUTES).list.eval(is_missing).list.any(), pl.col(WORDS).list.eval(pl.element().is_null()).list.any()
    )
    if any(column.any() for column in nulls.iter_columns()):
        raise ValueError("the lists must have no nulls")
