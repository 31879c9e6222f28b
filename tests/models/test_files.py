import subprocess
import sys
from pathlib import Path

import pytest

from rqrec.models.files import new_directory, remove_leftovers, write_file

KILLED_IN_THE_MIDST = """
import os, signal, sys
from pathlib import Path
from rqrec.models.files import new_directory
with new_directory(Path(sys.argv[1])) as directory:
    (directory / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


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


def test_what_a_killed_process_left_is_removed_and_what_is_being_written_stays(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    killed = subprocess.run([sys.executable, "-c", KILLED_IN_THE_MIDST, str(target)], check=False)
    assert killed.returncode < 0
    (leftover,) = tmp_path.iterdir()
    (tmp_path / ".other").mkdir()
    with new_directory(target) as written:
        (written / "a").touch()
        assert remove_leftovers(tmp_path, ".bundle-????????") == [leftover]
        assert remove_leftovers(tmp_path, ".bundle-????????") == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other", "bundle"]
    assert [path.name for path in target.iterdir()] == ["a"]


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
