import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from rqrec.training.data.compact.distinct_texts import DistinctTexts, encoded
from rqrec.training.data.compact.plain_integers import with_integers

TEXTS = st.lists(st.one_of(st.none(), st.sampled_from(["", " a", "a", "b", "NA", "ü"])), max_size=12)


@given(TEXTS, st.booleans())
def test_values_are_worked_out_once_and_rows_get_their_results(rows: list[str | None], is_encoded: bool) -> None:
    frame = pl.DataFrame({"id": rows}, schema={"id": pl.String})
    column = encoded(frame.lazy(), ["id", "missing"]).collect()["id"] if is_encoded else frame["id"]
    texts = DistinctTexts.from_column(column)
    assert sorted(texts.values_V) == sorted({row for row in rows if row is not None})
    stripped_V = texts.values_V.str.strip_chars()
    assert texts.with_values(stripped_V).cast(pl.String).to_list() == frame["id"].str.strip_chars().to_list()
    assert texts.spread(texts.values_V.str.len_bytes()).to_list() == frame["id"].str.len_bytes().to_list()
    for value in {row for row in rows if row is not None}:
        chosen_V = texts.values_V == value
        assert texts.count(chosen_V) == rows.count(value)
        assert texts.first(chosen_V, stripped_V) == (rows.index(value), value.strip())
    assert texts.count(texts.values_V == "z") == 0


@given(st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1).map(str)), max_size=6))
def test_texts_become_integers_only_if_no_text_is_lost(rows: list[str | None]) -> None:
    frame = pl.DataFrame({"time": rows, "other": rows}, schema={"time": pl.String, "other": pl.String})
    numbers = [None if row is None else int(row) for row in rows]
    assert with_integers(frame, "time").to_dict(as_series=False) == {"time": numbers, "other": rows}
    for strange in ("017", "1.0", " 1", "+1", "2024-01-01", "", str(2**63)):
        texts = frame.extend(pl.DataFrame({"time": [strange], "other": [strange]}))
        assert with_integers(texts, "time").equals(texts)
