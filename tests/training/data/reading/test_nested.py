import polars as pl
import pytest

from rqrec.training.data.reading.nested import explodes, in_fixed_order, leaf_paths, root_of, select_paths


@pytest.mark.parametrize("name", ["id", "*", "^.*$", "^a$b$", "a.b", ""])
@pytest.mark.parametrize("column", ["d", "*", "d.e"])
def test_a_field_is_selected_whatever_its_name_and_that_of_its_column(name: str, column: str) -> None:
    values = {name: 7, "other": {name: [8]}}
    frame = pl.DataFrame({column: [values, None], f"{column} list": [[values, values], []]}).lazy()
    schema = frame.collect_schema()
    paths = [f"{root}.{rest}" for root in (column, f"{column} list") for rest in (name, f"other.{name}")]
    assert leaf_paths(schema) == paths
    assert [root_of(schema, path) for path in paths] == [column] * 2 + [f"{column} list"] * 2
    assert [explodes(schema, path) for path in paths] == [False, False, True, True]
    assert select_paths(frame, {"x": paths[0], "y": paths[1]}).collect().rows() == [(7, [8]), (None, None)]
    exploded = select_paths(frame, {"x": paths[2], "y": paths[3], "z": paths[0]}).collect()
    assert exploded.rows() == [(7, [8], 7), (7, [8], 7), (None, None, None)]


def test_names_are_in_the_order_of_the_file_unless_polars_forgets_it() -> None:
    names = [f"f{number:02}" for number in range(33)]
    assert in_fixed_order(names[:0:-1]) == names[:0:-1]
    assert in_fixed_order(names[::-1]) == names
