"""Which bundles the service takes where RQREC_BUNDLE names none."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from benchmarks.support.running import free_port
from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.layout import CURRENT
from rqrec.service.default_bundle import USUAL, default_bundle, describe_choice, published_folders
from rqrec.service.settings import Settings

ROOT = Path(__file__).parents[2]


def publish(folder: Path, at_s: int) -> Path:
    """Makes a folder of bundles whose `current` was written at that time."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CURRENT).unlink(missing_ok=True)
    (folder / CURRENT).symlink_to("version")
    os.utime(folder / CURRENT, (at_s, at_s), follow_symlinks=False)
    return folder


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("RQREC_BUNDLE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_folder_published_last_comes_first(working_folder: Path) -> None:
    old = publish(working_folder / "artifacts" / "ml-1m" / "bundles", at_s=100)
    new = publish(working_folder / "artifacts" / "ml-100k" / "bundles", at_s=200)
    (working_folder / "artifacts" / "unfinished" / "bundles").mkdir(parents=True)
    assert published_folders(working_folder) == [new, old]
    publish(old, at_s=300)
    assert published_folders(working_folder) == [old, new]


def test_the_settings_take_it(working_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().bundle == default_bundle() == USUAL
    publish(working_folder / "artifacts" / "shop" / "bundles", at_s=100)
    assert Settings().bundle == Path("artifacts/shop/bundles")
    monkeypatch.setenv("RQREC_BUNDLE", "elsewhere")
    assert Settings().bundle == Path("elsewhere")


def test_the_choice_is_said_with_its_reason(working_folder: Path) -> None:
    publish(working_folder / "artifacts" / "shop" / "bundles", at_s=200)
    assert describe_choice(default_bundle()).endswith("serving artifacts/shop/bundles, the only one published here")
    publish(working_folder / "artifacts" / "old" / "bundles", at_s=100)
    assert describe_choice(default_bundle()).endswith(
        "artifacts/shop/bundles, published later than artifacts/old/bundles"
    )


def test_nothing_published_says_where_it_was_looked_for() -> None:
    with pytest.raises(
        BundleError, match=r"no published bundle in .*/artifacts/\*/bundles: train one with `rqrec train`"
    ):
        describe_choice(default_bundle())


@pytest.mark.parametrize("module", ["service", "rqrec.service"])
def test_the_service_finds_what_was_just_trained(working_folder: Path, bundles: Path, module: str) -> None:
    (working_folder / "artifacts" / "shop").mkdir(parents=True)
    (working_folder / "artifacts" / "shop" / "bundles").symlink_to(bundles)
    port = free_port()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RQREC_PORT": str(port)}
    with (working_folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", module], env=environment, stderr=log, stdout=log)
    try:
        deadline = time.monotonic() + 60
        while not answers(port):
            assert process.poll() is None, (working_folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert "RQREC_BUNDLE is not set: serving artifacts/shop/bundles" in (working_folder / "log").read_text()


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
