import numpy as np
import polars as pl

from rqrec.models.tokenizer.featurizer import Featurizer, FittedBlock, Source
from rqrec.training.report.describe import Describer, Trait


def test_traits_are_what_a_group_has_more_often_than_chance_explains() -> None:
    rare = ["Night of Crime"] * 10 + ["Day of Love"] * 90
    items = pl.DataFrame(
        {
            "title": rare,
            "genres": [["Crime", "Drama"]] * 10 + [["Love", "Drama"]] * 45 + [["Love"]] * 45,
            "is_new": [True] * 10 + [False] * 90,
        }
    )
    blocks = (
        FittedBlock("genres", Source.LABELS, labels=("Crime", "Drama", "Love")),
        FittedBlock("is_new", Source.FLAG),
    )
    describer = Describer(items, Featurizer(blocks, ("title", "genres")))
    group = np.arange(10)
    # Chance alone explains ten dramas of ten, where 55 of 100 are dramas.
    assert describer.labels(group, 5) == [Trait("Crime", 1.0, 0.1), Trait("is_new", 1.0, 0.1)]
    assert {one.text for one in describer.words(group, 5)} == {"night", "crime"}  # "of" is everywhere
    assert describer.words(np.arange(9, 11), 5) == []  # one item of each kind has nothing in common
