"""A folder of bundles: a bad bundle hides no other, whatever `current` names."""

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from rqrec.models.bundle.bundle import read_version
from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.layout import CURRENT, MANIFEST
from rqrec.models.bundle.store import bundles_at_hand, current_version, point_current
from rqrec.service.app import create_app
from tests.service.conftest import settings_for


def spoil_and_keep(three_bundles: Path) -> None:
    (three_bundles / "second" / MANIFEST).write_text("[" * 100_000)
    (three_bundles / "loop").symlink_to("loop")
    (three_bundles / "file").touch()
    (three_bundles / "empty").mkdir()
    (three_bundles / "odd").mkdir()
    (three_bundles / "odd" / MANIFEST).mkdir()


def test_one_bad_bundle_hides_no_other(three_bundles: Path) -> None:
    spoil_and_keep(three_bundles)
    assert set(bundles_at_hand(three_bundles)) == {"first", "second", "third"}
    with TestClient(create_app(settings_for(three_bundles, admin_token="t"))) as client:
        reply = client.get("/models", headers={"Authorization": "Bearer t"})
        assert reply.status_code == 200, reply.text


@pytest.mark.parametrize("current", [None, "gone", CURRENT, "second/manifest.json"])
def test_the_others_are_at_hand_where_current_names_none(three_bundles: Path, current: str | None) -> None:
    (three_bundles / CURRENT).unlink()
    if current is not None:
        (three_bundles / CURRENT).symlink_to(current)
    assert set(bundles_at_hand(three_bundles)) == {"first", "second", "third"}
    with pytest.raises(BundleError):
        current_version(three_bundles)
    assert read_version(three_bundles, "third").manifest.version == "third"
    point_current(three_bundles, "third")
    assert current_version(three_bundles) == "third"


def test_nothing_is_at_hand_where_nothing_is(tmp_path: Path) -> None:
    assert bundles_at_hand(tmp_path / "nowhere") == {}
    assert bundles_at_hand(tmp_path) == {}


def test_a_folder_of_another_name_than_its_version_is_refused(three_bundles: Path) -> None:
    (three_bundles / "second").rename(three_bundles / "other")
    with pytest.raises(BundleError, match="is 'second': name its folder by its version"):
        read_version(three_bundles, "other")
