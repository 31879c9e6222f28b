import json
from pathlib import Path

import pytest

from rqrec.training.data.build import build_dataset
from rqrec.training.data.dataset import DataError
from rqrec.training.data.sequence_files import read_day_gaps, read_sequence_files

ITEMS = [
    {"item_id": 1, "title": "Red Lacquer", "categories": [["Beauty", "Nails"], ["Beauty", "Gifts"]], "brand": "OPI"},
    {"item_id": 2, "title": None, "categories": [["Beauty"]]},
    {"item_id": 3, "title": "Balm"},
]


def write(folder: Path, sequences: str, name: str = "Toys.txt") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(sequences)
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    return folder


def test_the_order_of_a_line_is_the_order_in_time(tmp_path: Path) -> None:
    interactions, items = read_sequence_files(write(tmp_path / "toys", "9 3 1 2\n4 2 1\n"))
    dataset = build_dataset("toys", interactions, items)
    assert dataset.interactions["item_index"].to_list() == [1, 0, 2, 0, 1]
    assert dataset.items["item_id"].to_list() == ["1", "2", "3"]


def test_nested_categories_are_flattened_without_repeats(tmp_path: Path) -> None:
    _, items = read_sequence_files(write(tmp_path / "toys", "1 1 2\n"))
    assert items["categories"].to_list() == [["Beauty", "Nails", "Gifts"], ["Beauty"], None]


def test_prefers_the_file_that_bears_the_folders_name(tmp_path: Path) -> None:
    folder = write(tmp_path / "toys", "1 1 2\n")
    (folder / "notes.txt").write_text("something else")
    (folder / "Toys_day_gaps.txt").write_text("1 0 3\n")
    interactions, _ = read_sequence_files(folder)
    assert len(interactions.collect()) == 2


def test_refuses_to_guess_between_files(tmp_path: Path) -> None:
    folder = write(tmp_path / "toys", "1 1 2\n", name="a.txt")
    (folder / "b.txt").write_text("1 2 1\n")
    with pytest.raises(DataError, match=r"found \['a.txt', 'b.txt'\]: name it toys.txt"):
        read_sequence_files(folder)


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ("1 2\n7\n", ":2 must be a user and at least one item, got '7'"),
        ("1 2\n1 3\n", "Toys.txt:2 is another line of user '1'"),
    ],
)
def test_refuses_malformed_lines(tmp_path: Path, sequences: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_sequence_files(write(tmp_path / "toys", sequences))


@pytest.mark.parametrize("text", ["", "\n", "\ufeff"])
def test_refuses_an_empty_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="Toys.txt must hold at least one line .* but it is empty"):
        read_sequence_files(write(tmp_path / "toys", text))


def test_only_ascii_spaces_and_line_feeds_separate_ids(tmp_path: Path) -> None:
    interactions, _ = read_sequence_files(write(tmp_path / "toys", "\ufeff1 a\u00a0b c\u2028d\r\n2\tc\n\n"))
    rows = interactions.select("user_id", "item_id").collect().rows()
    assert rows == [("1", "a\u00a0b"), ("1", "c\u2028d"), ("2", "c")]


def test_refuses_items_that_are_no_json(tmp_path: Path) -> None:
    folder = write(tmp_path / "toys", "1 1\n")
    (folder / "items.jsonl").write_text("{item_id: 1\n")
    with pytest.raises(DataError, match="must hold one JSON object a line"):
        read_sequence_files(folder)


def test_refuses_a_folder_without_items(tmp_path: Path) -> None:
    folder = write(tmp_path / "toys", "1 1\n")
    (folder / "items.jsonl").unlink()
    with pytest.raises(DataError, match="items.jsonl, but there is no such file"):
        read_sequence_files(folder)


def test_day_gaps_count_from_the_first_action(tmp_path: Path) -> None:
    folder = write(tmp_path / "toys", "9 3 1 2\n4 2 1\n")
    assert read_day_gaps(folder) is None
    (folder / "Toys_day_gaps.txt").write_text("9 0 0 5\n4 0 2\n")
    gaps = read_day_gaps(folder)
    assert gaps is not None
    assert gaps["day"].to_list() == [0, 0, 5, 0, 2]
    assert gaps["timestamp"].to_list() == [0, 1, 2, 0, 1]


@pytest.mark.parametrize("gaps", ["9 0 0\n4 0 2\n", "9 0 0 x\n4 0 2\n"])
def test_refuses_day_gaps_of_other_sequences(tmp_path: Path, gaps: str) -> None:
    folder = write(tmp_path / "toys", "9 3 1 2\n4 2 1\n")
    (folder / "Toys_day_gaps.txt").write_text(gaps)
    with pytest.raises(DataError, match="must have the users of Toys.txt and one number for each of their items"):
        read_day_gaps(folder)
