import polars as pl
import pytest

from rqrec.models.bundle.meanings import ATTRIBUTES, MOST, PREFIX, SCHEMA, WORDS, Meanings

WAR = {"name": "genre", "value": "War", "share": 1.0}


def meanings(**columns: object) -> Meanings:
    fields = {PREFIX: [[1]], ATTRIBUTES: [[WAR]], WORDS: [["red"]], **columns}
    return Meanings(pl.DataFrame(fields, schema=SCHEMA), codebook_size=4, levels=2)


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        (PREFIX, [4], "prefixes of at most 2 codes in"),
        (PREFIX, [0, 0, 0], "prefixes of at most 2 codes in"),
        (PREFIX, None, "prefixes of at most 2 codes in"),
        (WORDS, ["red"] * (MOST + 1), f"at most {MOST}"),
        (WORDS, [None], "no nulls"),
        (ATTRIBUTES, [{**WAR, "share": 1.5}], "at most 1"),
        (ATTRIBUTES, [{**WAR, "value": None}], "no nulls"),
    ],
)
def test_refuses_a_table_that_no_training_wrote(column: str, value: object, fault: str) -> None:
    assert meanings().nbytes > 0  # the unchanged table is read
    with pytest.raises(ValueError, match=fault):
        meanings(**{column: [value]})


def test_refuses_other_columns() -> None:
    with pytest.raises(ValueError, match="expected the columns"):
        Meanings(pl.DataFrame({PREFIX: [[1]]}), codebook_size=4, levels=2)
