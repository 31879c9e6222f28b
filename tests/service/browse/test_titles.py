"""Titles found by words: the index against a slow one, and a changing catalogue against its payloads."""

import unicodedata

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from rqrec.models.bundle.bundle import Bundle
from rqrec.models.items.item_tokenizer import ItemTokenizer
from rqrec.service.browse.attributes import Attributes
from rqrec.service.browse.title_attribute import title_attribute
from rqrec.service.browse.title_index import TitleIndex, read_query
from rqrec.service.browse.titles import Titles
from rqrec.service.catalogue.snapshot import Snapshot
from tests.service.browse.changing_catalogue import HORROR, states

TEXTS = st.text(alphabet="abcéÉ'’-. 東1", max_size=12)


def words_of(text: str) -> list[str]:
    letters = [one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one) and one not in "'’"]
    return "".join(one if one.isalnum() else " " for one in "".join(letters).lower()).split()


@given(titles=st.lists(st.one_of(st.none(), TEXTS), max_size=20), query=TEXTS)
def test_titles_with_the_words_of_a_query_are_found(titles: list[str | None], query: str) -> None:
    index, read = TitleIndex.build(pl.Series(titles, dtype=pl.String)), read_query(query)
    *whole, begun = words_of(query) or [""]
    has_begun = [bool(begun) and any(one.startswith(begun) for one in words_of(title or "")) for title in titles]
    others = set(whole) - {begun}
    counts = [len(others & set(words_of(title or ""))) + has for title, has in zip(titles, has_begun, strict=True)]
    assert index.count_words(read).tolist() == counts
    equal = [at for at, title in enumerate(titles) if words_of(query) and words_of(title or "") == words_of(query)]
    assert index.equal_to(read).tolist() == equal


def test_a_long_query_counts_its_first_words_and_the_last() -> None:
    index = TitleIndex.build(pl.Series(["w0 w1", "w30"]))
    assert index.count_words(read_query(" ".join(f"w{number}" for number in range(31)))).tolist() == [2, 1]


def test_titles_follow_every_state_of_the_catalogue(
    published: Snapshot, tokenizer: ItemTokenizer, bundle: Bundle
) -> None:
    popularity_N = bundle.learned.popularity_R[published.trie.row_of_leaf_N]
    of_id = dict(zip((item.item_id for item in published.table.bundle_items), popularity_N.tolist(), strict=True))
    titles, series = Titles(published, "title", popularity_N), states(published, tokenizer)
    for snapshot in (*series, series[2], series[-1]):
        payloads = {item.item_id: item.attributes for item in snapshot.table.items(snapshot.table.places)}
        for conditions in ({}, HORROR):
            eligible = snapshot.filters.eligibility(conditions) if conditions else snapshot.recommender.everything
            wanted = {
                item_id: words_of(payload["title"])
                for item_id, payload in payloads.items()
                if not conditions or "Horror" in payload["genres"]
            }
            for query in ("horror 19", "film A", "a film 3", "romance horror 11"):
                found = titles.find(snapshot, query, 15, eligible)
                ids = [item.item_id for item in snapshot.table.items(found.places_K)]
                *whole, begun = words_of(query)
                shares = {
                    item_id: (sum(one in words for one in whole) + any(one.startswith(begun) for one in words))
                    / len(words_of(query))
                    for item_id, words in wanted.items()
                }
                best = sorted((share for share in shares.values() if share), reverse=True)[:15]
                np.testing.assert_allclose(found.scores_K, best)
                np.testing.assert_allclose([shares[item_id] for item_id in ids], best)
                assert len(set(ids)) == len(ids)
                keys = [
                    (-shares[one], not (shares[one] == 1 and wanted[one] == words_of(query)), -of_id.get(one, 0))
                    for one in ids
                ]
                assert keys == sorted(keys)


def test_the_title_is_the_attribute_that_is_called_so_or_has_the_most_values() -> None:
    items = pl.DataFrame({"item_id": ["1", "2"], "brand": ["x", "x"], "words": ["a", "b"], "price": [1, 2]})
    assert title_attribute(items.with_columns(Name=pl.lit("n")), ["words"]) == "Name"
    assert title_attribute(items, ["words", "brand"]) == "words"
    assert title_attribute(items, ["brand"]) == "brand"
    assert title_attribute(items, []) == "words"
    assert title_attribute(items.select("item_id", "price"), []) is None


def test_attributes_count_the_present_items(published: Snapshot, tokenizer: ItemTokenizer) -> None:
    attributes = Attributes("title")
    for snapshot in states(published, tokenizer):
        payloads = [item.attributes for item in snapshot.table.items(snapshot.table.places)]
        by_name = {one.name: one for one in attributes.describe(snapshot)}
        assert {name: one.kind for name, one in by_name.items()} == {
            "title": "text",
            "year": "number",
            "genres": "label",
        }
        expected = [
            (genre, sum(genre in one["genres"] for one in payloads))
            for genre in ("Animation", "Horror", "Romance", "War")
        ]
        assert by_name["genres"].values == sorted(expected, key=lambda one: (-one[1], one[0]))
        years = [one["year"] for one in payloads]
        assert (by_name["year"].smallest, by_name["year"].largest) == (min(years), max(years))
