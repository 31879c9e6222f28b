"""Joins the two ways to find items by words: titles that have the words, and contents that are alike in meaning."""

from typing import Literal, NamedTuple

from rqrec.models.items.item_tokenizer import ItemTokenizer, NoTextEncoder
from rqrec.models.search.eligibility import Eligibility
from rqrec.service.browse.spaces import Contents, Found
from rqrec.service.browse.titles import Titles
from rqrec.service.catalogue.item import is_unicode
from rqrec.service.catalogue.snapshot import Snapshot


class Hit(NamedTuple):
    """One item that was found by words.

    Attributes:
        place: The place of the item, its index in the catalogue.
        score: For a title, the share of the words that it has; for a meaning, the cosine.
        match: How the item was found.
    """

    place: int
    score: float
    match: Literal["title", "meaning"]


class WordSearch:
    """Finds items by words, in any state of one model's catalogue.

    Args:
        titles: Finds items by the words of their titles; None if the items have no titles.
        contents: The contents of the catalogue.
        tokenizer: The model's item tokenizer, which has the text encoder.
    """

    def __init__(self, titles: Titles | None, contents: Contents, tokenizer: ItemTokenizer) -> None:
        self._titles, self._contents, self._tokenizer = titles, contents, tokenizer

    def find(self, snapshot: Snapshot, text: str, k: int, eligible: Eligibility) -> list[Hit]:
        """Finds the eligible items that fit some words, best first.

        Titles with all the words come first. Titles with at least half of them follow until half of the list is full.
        Items alike in meaning fill the rest, and further titles what is then left.

        Args:
            snapshot: The state of the catalogue.
            text: The words.
            k: The number of items to find, at most MOST_NEAREST.
            eligible: The items that may be found.
        """
        titles = [] if self._titles is None else _hits(self._titles.find(snapshot, text, k, eligible), "title")
        num_whole, num_half = sum(hit.score == 1 for hit in titles), sum(hit.score >= 0.5 for hit in titles)
        kept = max(num_whole, min(num_half, k // 2))
        first, later = titles[:kept], titles[kept:]
        if len(first) >= k:
            return first
        known = {hit.place for hit in first}
        alike = [hit for hit in self._alike(snapshot, text, k, eligible) if hit.place not in known]
        hits = (first + alike)[:k]
        known = {hit.place for hit in hits}
        return (hits + [hit for hit in later if hit.place not in known])[:k]

    def _alike(self, snapshot: Snapshot, text: str, k: int, eligible: Eligibility) -> list[Hit]:
        """The items alike in meaning; none if the bundle has no text encoder."""
        if not self._tokenizer.text_width or not is_unicode(text):
            return []
        try:
            query_P = self._tokenizer.content_of_text(text)
        except NoTextEncoder:
            return []
        return _hits(self._contents.nearest(snapshot, query_P, k, eligible), "meaning")


def _hits(found: Found, match: Literal["title", "meaning"]) -> list[Hit]:
    pairs = zip(found.places_K.tolist(), found.scores_K.tolist(), strict=True)
    return [Hit(place, score, match) for place, score in pairs]
