"""Finds out what the codes of semantic IDs stand for: what the items below each prefix have in common.

Shapes: N items, L levels, X columns (attribute values or words), P prefixes of one length, E entries of a sparse
matrix.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer

from rqrec.models.array_types import FloatArray, IntArray
from rqrec.models.bundle.meanings import ATTRIBUTES, LONGEST, MOST, NAME, PREFIX, SCHEMA, SHARE, VALUE, WORDS
from rqrec.models.tokenizer.featurizer import Featurizer, Source, as_written, label_marks
from rqrec.models.trie.trie import pack_codes, unpack_codes

FEWEST = 2  # items of a prefix that has a meaning, and items of it that share a value or word
LONGEST_TEXT = 400  # characters of an item's text that are read: its title, and the begin of what follows
MOST_WORDS = 50_000  # different words of a catalogue
WORD = r"(?u)\b(?=\w*[^\W\d_])\w{2,40}\b"  # with at least one letter


class _Marks(NamedTuple):
    """Which items have which values.

    Attributes:
        marks_NX: 1 if an item has a value or word, sparse.
        columns: What each of the X columns stands for, one row per column.
    """

    marks_NX: sparse.csr_matrix
    columns: pl.DataFrame


def find_meanings(
    codes_NL: NDArray[np.integer], items: pl.DataFrame, featurizer: Featurizer, *, codebook_size: int
) -> pl.DataFrame:
    """Finds what the items below each prefix of semantic IDs have in common, for prefixes of at least two items.

    An attribute value or word counts if at least two items below the prefix have it. Attribute values are sorted by the
    share of items that have them. Words are sorted by tf-idf: tf is the share of the prefix's items that have the word,
    and idf is ln(P / number of prefixes of this length that have the word) + 1.

    For 1,000,000 items with titles of eight words it needs about 1 GB.

    Args:
        codes_NL: The semantic IDs of the items. The prefixes of all lengths below L get meanings: no two items share a
            whole semantic ID.
        items: The items table, in the same order.
        featurizer: Says which attributes are labels, flags and numbers, and which are texts.
        codebook_size: V, the number of codes per level.

    Returns:
        A table with the columns of `models.bundle.meanings.SCHEMA`; the first row is the empty prefix, for all items.
    """
    values, words = _values(items, featurizer), _words(items, featurizer)
    keys_N, levels = pack_codes(codes_NL, codebook_size), codes_NL.shape[1]
    tables = []
    for length in range(levels):
        prefixes_P, prefix_N = np.unique(keys_N // codebook_size ** (levels - length), return_inverse=True)
        sizes_P = np.bincount(prefix_N)
        table = pl.DataFrame({"row": np.flatnonzero(sizes_P >= FEWEST)})
        codes_PC = unpack_codes(prefixes_P[table["row"].to_numpy()], codebook_size, length).astype(np.int32)
        table = table.with_columns(pl.Series(PREFIX, list(codes_PC), dtype=SCHEMA[PREFIX]))
        for name, best in (
            (ATTRIBUTES, _commonest(values, prefix_N, sizes_P)),
            (WORDS, _most_telling(words, prefix_N, sizes_P)),
        ):
            lists = best.group_by("row", maintain_order=True).agg(name)
            table = table.join(lists, on="row", how="left", maintain_order="left")
        tables.append(table.select(pl.col(name).cast(kind).fill_null([]) for name, kind in SCHEMA.items()))
    return pl.concat(tables)


def _values(items: pl.DataFrame, featurizer: Featurizer) -> _Marks:
    """The values of the attributes that are labels, flags or numbers."""
    marks = [pl.DataFrame(schema={"row": pl.Int64, NAME: pl.String, VALUE: pl.String})]
    for block in featurizer.blocks:
        if block.source in (Source.LABELS, Source.FLAG, Source.NUMBER):
            column = items[block.name]
            column = column.cast(pl.String) if block.source is Source.FLAG else column
            shown = label_marks(column).select("row", pl.lit(block.name).alias(NAME), pl.col("label").alias(VALUE))
            marks.append(shown.filter(pl.col(VALUE) != ""))
    table = pl.concat(marks).with_columns(pl.col(VALUE).str.slice(0, LONGEST)).unique()
    columns = table.select(NAME, VALUE).unique().sort(NAME, VALUE).with_row_index("column")
    placed = table.join(columns, on=[NAME, VALUE])
    ones = np.ones(len(placed), dtype=np.int32)
    places = placed["row"].to_numpy(), placed["column"].to_numpy()
    return _Marks(sparse.csr_matrix((ones, places), shape=(len(items), len(columns))), columns)


def _words(items: pl.DataFrame, featurizer: Featurizer) -> _Marks:
    """The words of the attributes that are texts and no labels."""
    labels = {block.name for block in featurizer.blocks if block.source is not Source.GIVEN}
    texts = [_as_text(items[name]) for name in featurizer.text_attributes if name not in labels]
    joined = pl.select(pl.concat_str(texts, separator=" ", ignore_nulls=True)).to_series() if texts else pl.Series([""])
    cut = joined.str.slice(0, LONGEST_TEXT).to_list()
    counter = CountVectorizer(
        binary=True, token_pattern=WORD, stop_words="english", max_features=MOST_WORDS, dtype=np.int32
    )
    try:
        marks_NX = counter.fit_transform(cut)
    except ValueError:  # scikit-learn's error if there is no word
        nothing_N0 = sparse.csr_matrix(np.empty((len(items), 0), dtype=np.int32))
        return _Marks(nothing_N0, pl.DataFrame({WORDS: []}, {WORDS: pl.String}))
    return _Marks(marks_NX, pl.DataFrame({WORDS: counter.get_feature_names_out()}))


def _as_text(column: pl.Series) -> pl.Series:
    return column.list.join(" ") if isinstance(column.dtype, pl.List) else as_written(column)


def _commonest(values: _Marks, prefix_N: IntArray, sizes_P: IntArray) -> pl.DataFrame:
    """The attribute values of each prefix: columns `row` (the prefix) and `attributes`, the commonest first.

    Of values that equally many items have, the one that is rarer in the catalogue comes first.
    """
    prefix_E, column_E, count_E, _ = _counted(values, prefix_N, sizes_P)
    shares_E = (count_E / sizes_P[prefix_E]).astype(np.float32)
    in_catalogue_E = np.asarray(values.marks_NX.sum(axis=0)).ravel()[column_E]
    best_E = _best(prefix_E, shares_E, in_catalogue_E)
    chosen = values.columns[column_E[best_E]].with_columns(pl.Series(SHARE, shares_E[best_E]))
    return pl.DataFrame({"row": prefix_E[best_E], ATTRIBUTES: chosen.select(NAME, VALUE, SHARE).to_struct()})


def _most_telling(words: _Marks, prefix_N: IntArray, sizes_P: IntArray) -> pl.DataFrame:
    """The words of each prefix: columns `row` (the prefix) and `words`, those of the largest tf-idf first."""
    prefix_E, column_E, count_E, prefixes_X = _counted(words, prefix_N, sizes_P)
    idf_E = np.log(len(sizes_P) / prefixes_X[column_E]) + 1
    best_E = _best(prefix_E, count_E / sizes_P[prefix_E] * idf_E, column_E)
    return pl.DataFrame({"row": prefix_E[best_E], WORDS: words.columns[WORDS].gather(column_E[best_E])})


def _counted(marks: _Marks, prefix_N: IntArray, sizes_P: IntArray) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Counts the items of each prefix that have a value.

    Returns:
        The prefix, column and count of each pair with at least `FEWEST` items, shape (E,) each; and in how many
        prefixes each column occurs, shape (X,).
    """
    ones_N, items_N = np.ones(len(prefix_N), dtype=np.int32), np.arange(len(prefix_N))
    below_PN = sparse.csr_matrix((ones_N, (prefix_N, items_N)), shape=(len(sizes_P), len(prefix_N)))
    counts_PX = below_PN @ marks.marks_NX
    counts_PX.sort_indices()
    prefixes_X = np.bincount(counts_PX.indices, minlength=counts_PX.shape[1])
    is_enough_E = counts_PX.data >= FEWEST
    prefix_E = np.repeat(np.arange(len(sizes_P)), np.diff(counts_PX.indptr))[is_enough_E]
    return prefix_E, counts_PX.indices[is_enough_E], counts_PX.data[is_enough_E], prefixes_X


def _best(prefix_E: IntArray, scores_E: FloatArray, ties_E: IntArray) -> IntArray:
    """The numbers of the `MOST` entries of the largest score of each prefix, sorted by prefix, the largest first.

    Of equal scores, the entry with the smaller number in `ties_E` comes first.
    """
    order_E = np.lexsort((ties_E, -scores_E, prefix_E))
    sorted_E = prefix_E[order_E]
    rank_E = np.arange(len(sorted_E)) - np.searchsorted(sorted_E, sorted_E)
    best_E: IntArray = order_E[rank_E < MOST]
    return best_E
