"""An index of the words of titles: finds the titles that have the words of a query.

The index is an inverted one: a sorted list of all words, and for each word the titles that have it. The words that
begin with some letters are neighbours in the list, and so are their titles.

Shapes: M titles, X words of all titles.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from rqrec.models.array_types import Int32Array, IntArray

LONGEST_TITLE = 512  # characters that are read
MOST_WORDS = 16  # of a query
AFTER_ALL = "\U0010ffff"  # sorts after every word


class Query(NamedTuple):
    """The words of a query.

    Attributes:
        text: The query as `plain` writes it.
        words: Its first MOST_WORDS different words. The last one may be the beginning of a word.
    """

    text: str
    words: tuple[str, ...]


def read_query(text: str) -> Query:
    """Reads the words of a query in the way in which the words of titles are read."""
    (read,) = plain(pl.Series([text], dtype=pl.String)).to_list()
    *before, last = read.split(" ")
    distinct = [word for word in dict.fromkeys(before) if word != last]
    return Query(read, tuple(word for word in (*distinct[: MOST_WORDS - 1], last) if word))


def plain(texts: pl.Series) -> pl.Series:
    """Returns texts in lower case without accents, as words with one space between them. A null becomes empty."""
    return (
        texts.fill_null("")
        .str.slice(0, LONGEST_TITLE)
        .str.normalize("NFKD")
        .str.replace_all(r"[\p{M}'’]", "")
        .str.to_lowercase()
        .str.replace_all(r"[^\p{L}\p{N}]+", " ")
        .str.strip_chars(" ")
    )


@dataclass(frozen=True, eq=False)
class TitleIndex:
    """The words of M titles, which are numbered 0..M-1.

    Attributes:
        titles: The titles as `plain` writes them.
        words: All different words, sorted.
        start: Word w is in the titles `titles_X[start[w]:start[w + 1]]`, int64.
        titles_X: The titles of each word, int32.
    """

    titles: pl.Series
    words: pl.Series
    start: IntArray
    titles_X: Int32Array

    @classmethod
    def build(cls, titles: pl.Series) -> "TitleIndex":
        """Builds the index of titles, strings of which some may be null."""
        titles = plain(titles)
        pairs = (
            pl.DataFrame({"title": pl.int_range(len(titles), dtype=pl.Int32, eager=True), "word": titles})
            .with_columns(pl.col("word").str.split(" "))
            .explode("word")
            .filter(pl.col("word") != "")
            .unique()
            .sort("word", "title")
        )
        counts = pairs.group_by("word", maintain_order=True).len()
        start = np.concatenate([[0], np.cumsum(counts["len"].to_numpy())]).astype(np.int64)
        return cls(titles, counts["word"].rechunk(), start, pairs["title"].to_numpy())

    def __len__(self) -> int:
        return len(self.titles)

    def count_words(self, query: Query) -> NDArray[np.uint8]:
        """Returns how many words of a query each title has, uint8 of shape (M,). The last word may be unfinished."""
        counts_M = np.zeros(len(self), dtype=np.uint8)
        for number, word in enumerate(query.words, start=1):
            has_M = np.zeros(len(self), dtype=np.uint8)
            has_M[self._having(word, word + AFTER_ALL if number == len(query.words) else word)] = 1
            counts_M += has_M
        return counts_M

    def equal_to(self, query: Query) -> IntArray:
        """Returns the titles that are equal to the whole query, int64, in ascending order."""
        if not query.words:
            return np.empty(0, dtype=np.int64)
        having = self._having(query.words[-1], query.words[-1])
        return np.asarray(having[(self.titles.gather(having) == query.text).to_numpy()], dtype=np.int64)

    def _having(self, first: str, last: str) -> Int32Array:
        """The titles with a word from `first` to `last`; a title may come more than once."""
        begin, end = self.words.search_sorted(first, "left"), self.words.search_sorted(last, "right")
        return self.titles_X[self.start[begin] : self.start[end]]
