import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.models.bundle.manifest import seal_bundle
from rqrec.models.bundle.store import is_retrained_from, point_current


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.path, tmp_path / "bundle"))


def test_follows_the_current_link(copy: Path) -> None:
    point_current(copy.parent, copy.name)
    assert read_bundle(copy.parent).path == copy.resolve()


def test_knows_from_which_bundles_the_current_one_was_retrained(bundle: Bundle, tmp_path: Path) -> None:
    parents = {"first": "", "second": "first", "third": "second", "other": ""}
    for version, parent in parents.items():
        folder = Path(shutil.copytree(bundle.path, tmp_path / version))
        seal_bundle(folder, replace(bundle.manifest, version=version, retrained_from=parent))
    assert not is_retrained_from(tmp_path, "first")  # there is no `current` yet
    expected = {"first": set(), "second": {"first"}, "third": {"first", "second"}, "other": set()}
    for current, ancestors in expected.items():
        point_current(tmp_path, current)
        assert {version for version in parents if is_retrained_from(tmp_path, version)} == ancestors

    point_current(tmp_path, "third")
    shutil.rmtree(tmp_path / "second")
    assert is_retrained_from(tmp_path, "first")
