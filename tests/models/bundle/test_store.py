import shutil
from pathlib import Path

import pytest

from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.models.bundle.store import point_current


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.path, tmp_path / "bundle"))


def test_follows_the_current_link(copy: Path) -> None:
    point_current(copy.parent, copy.name)
    assert read_bundle(copy.parent).path == copy.resolve()
