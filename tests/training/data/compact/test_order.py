from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from rqrec.training.data.compact import order
from rqrec.training.data.compact.mapped_table import map_table, write_table
from rqrec.training.data.prepare import load_prepared, load_split, prepare_data
from rqrec.training.data.settings import DatasetSettings
from rqrec.training.runtime.workspace import open_workspace

ROW = st.tuples(
    st.sampled_from(["u1", " u1", "u2", "u10", "ü"]),
    st.sampled_from(["a", "b", "c"]),
    st.integers(0, 3),
    st.sampled_from(["5", "1", "3,5", "NA", ""]),
    st.sampled_from(["view", "buy", "return", ""]),
)
FIRST = [
    ("u1", "a", 0, "5", "view"),
    ("u1", "b", 1, "1", "buy"),
    ("u1", "c", 2, "3", "buy"),
    ("u1", "a", 3, "5", "buy"),
]
NAMES = ["user_id", "item_id", "timestamp", "rating", "event_type"]


def prepared(folder: Path) -> tuple[object, ...]:
    reading = DatasetSettings(source=str(folder), duplicates="drop", decimal=",")
    with TemporaryDirectory() as work, open_workspace(Path(work), folder) as workspace:
        stage = prepare_data(workspace, reading)
        split, dataset = load_split(stage), load_prepared(stage)
        names = ["items.parquet", "users.parquet", "report.txt", "columns.json", "dataset.json"]
        files = [(stage.path / name).read_bytes() for name in names]
        held_out = split.test.targets_U.tolist(), split.test.histories.items_I.tolist()
        return (
            files,
            dataset.interactions.to_dict(as_series=False),
            split.train.items_I.tolist(),
            split.is_train_I.tolist(),
            held_out,
        )


@settings(max_examples=25)
@given(st.lists(ROW, max_size=25), st.integers(1, 9), st.integers(1, 9))
def test_any_number_of_parts_gives_the_same_prepared_data(rows: list[object], sorted_: int, split_: int) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        pl.DataFrame([*FIRST, *rows], schema=NAMES, orient="row").write_csv(folder / "interactions.csv", separator=";")
        whole = prepared(folder)
        with (
            patch.object(order, "ROWS_AT_ONCE", sorted_),
            patch("rqrec.training.data.splits.ITEMS_AT_ONCE", split_),
            patch("rqrec.training.data.dataset.ROWS_AT_ONCE", sorted_),
            patch("rqrec.training.data.compact.counts.NUMBERS_AT_ONCE", split_),
        ):
            assert prepared(folder) == whole


def test_a_table_in_files_keeps_its_columns_types_and_rows(tmp_path: Path) -> None:
    table = pl.DataFrame({"user_index": [0, 1], "time": [7, 2**40], "weight": [0.5, 1.0]}).cast(
        {"user_index": pl.Int32, "weight": pl.Float32}
    )
    for number, rows in enumerate((table, table.clear())):
        write_table(rows, tmp_path / str(number))
        found = map_table(tmp_path / str(number))
        assert found.equals(rows)
        assert found.schema == rows.schema
