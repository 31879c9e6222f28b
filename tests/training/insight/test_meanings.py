import numpy as np
import polars as pl

from rqrec.models.bundle.meanings import NO_MEANING, AttributeShare, Meaning, Meanings
from rqrec.models.tokenizer.featurizer import TEXT, Featurizer, FittedBlock, Source
from rqrec.training.insight.meanings import find_meanings

CODES_NL = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 1, 0], [2, 0, 0]])
ITEMS = pl.DataFrame(
    {
        "item_id": list("abcdef"),
        "title": ["The red balloon", "A red car", "Red balloon 2", "Blue balloon", "The sky 1999", None],
        "genres": [["War", "Drama"], ["Drama"], ["Drama", "War"], ["Comedy"], ["Comedy", "Drama"], None],
        "is_new": [True, True, False, False, False, None],
        "year": [1990, 1990, 1991, 1992, 1992, None],
    }
)
BLOCKS = (
    FittedBlock("genres", Source.LABELS, labels=("Drama",)),
    FittedBlock("is_new", Source.FLAG),
    FittedBlock("year", Source.NUMBER),
    FittedBlock(TEXT, Source.GIVEN),
)


def meanings(items: pl.DataFrame, *text_attributes: str, blocks: tuple[FittedBlock, ...] = BLOCKS) -> Meanings:
    table = find_meanings(CODES_NL, items, Featurizer(blocks, text_attributes), codebook_size=3)
    return Meanings(table, codebook_size=3, levels=3)


def test_a_prefix_means_what_most_of_its_items_share_and_the_words_that_other_prefixes_lack() -> None:
    found = meanings(ITEMS, "title", "genres")
    of_0, of_1, of_2 = found.of(np.array([[0], [1], [2]]))
    assert [(one.name, one.value, round(one.share, 2)) for one in of_0.attributes] == [
        ("genres", "Drama", 1.0),
        ("genres", "War", 0.67),  # as common as the next two, and in the whole catalogue as rare as they are
        ("is_new", "true", 0.67),
        ("year", "1990", 0.67),
    ]
    assert of_0.words == ["red", "balloon"]  # balloon is a word of the prefix 1 too, and the numbers and "the" are none
    assert of_1.attributes[:2] == [AttributeShare("genres", "Comedy", 1.0), AttributeShare("year", "1992", 1.0)]
    assert of_1.words == []  # its two titles share none
    assert of_2 == NO_MEANING  # one item
    (whole,) = found.of(np.empty((1, 0), dtype=np.int64))
    assert whole.attributes[0].value == "Drama"
    assert found.of(np.array([[0, 0], [0, 1]]))[0].words == ["red"]
    assert found.of(np.array([[0, 0, 0]])) == found.of(np.array([[7, 7]])) == [NO_MEANING]


def test_items_without_attributes_or_words_have_no_meaning() -> None:
    bare = meanings(ITEMS.select("item_id"), blocks=(FittedBlock(TEXT, Source.GIVEN),))
    assert bare.of(np.array([[0]])) == [Meaning([], [])]
