from pathlib import Path

import pytest

from rqrec.models.files import new_directory


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
