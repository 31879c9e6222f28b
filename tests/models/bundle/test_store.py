import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.manifest import seal_bundle
from rqrec.models.bundle.store import is_retrained_from, point_current, target_of_current


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.path, tmp_path / "bundle"))


def test_follows_the_current_link(copy: Path) -> None:
    point_current(copy.parent, copy.name)
    assert read_bundle(copy.parent).path == copy.resolve()


def test_the_link_is_set_only_if_it_names_what_is_expected(tmp_path: Path) -> None:
    assert target_of_current(tmp_path) == ""
    assert point_current(tmp_path, "first", instead_of="")
    assert not point_current(tmp_path, "second", instead_of="")
    assert target_of_current(tmp_path) == "first"
    assert point_current(tmp_path, "second", instead_of="first")
    assert point_current(tmp_path, "second", instead_of="first")  # it names the version already
    assert point_current(tmp_path, "third")
    assert [path.name for path in tmp_path.iterdir()] == ["current"]


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


def test_a_folder_in_place_of_the_link_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "current").mkdir()
    with pytest.raises(BundleError, match=f"{tmp_path}/current must be a link to a bundle beside it, and it is none"):
        point_current(tmp_path, "first")
    assert [path.name for path in tmp_path.iterdir()] == ["current"]


def test_what_a_killed_process_left_of_the_link_does_not_stay(tmp_path: Path) -> None:
    (tmp_path / ".current").symlink_to("first")
    assert point_current(tmp_path, "second")
    assert [path.name for path in tmp_path.iterdir()] == ["current"]
