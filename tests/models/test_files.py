from pathlib import Path

import pytest

from rqrec.models.files import new_directory, write_file


def test_new_directory_replaces_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "stage"
    with new_directory(target) as directory:
        (directory / "a").touch()
    with pytest.raises(KeyboardInterrupt), new_directory(target) as directory:
        (directory / "b").touch()
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["stage"]
    assert [path.name for path in target.iterdir()] == ["a"]
    with new_directory(target) as directory:
        (directory / "c").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["stage", "c"]


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "parts" / "one"
    write_file(target, lambda path: path.write_text("old"))

    def fail(path: Path) -> None:
        path.write_text("ne")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_file(target, fail)
    assert [path.name for path in target.parent.iterdir()] == ["one"]
    assert target.read_text() == "old"
