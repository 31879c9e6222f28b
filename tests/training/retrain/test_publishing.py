"""What a retraining does with its folder of bundles: `current` is set meanwhile, or the disk is full or read-only."""

import errno
import shutil
from pathlib import Path

import pytest

from rqrec.models.bundle.bundle import read_bundle
from rqrec.models.bundle.store import point_current, target_of_current
from rqrec.training.retrain.asking.judge import judge
from rqrec.training.runtime.workspace import Stage
from tests.conftest import no_search_graph
from tests.training.retrain.conftest import Shop, retrain


def test_current_stays_if_it_was_set_while_a_retraining_ran(
    timed_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bundles = Path(shutil.copytree(timed_shop.bundles, tmp_path / "bundles", symlinks=True))
    other = Path(shutil.copytree(timed_shop.bundle.path, bundles / "another"))

    def judge_slowly(*arguments: object, **more: object) -> Stage:
        point_current(bundles, other.name)
        return judge(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("rqrec.training.retrain.run.judge", judge_slowly)
    prom = tmp_path / "retraining.prom"
    with no_search_graph():
        status = retrain(
            bundles, timed_shop.events, timed_shop.first, work=tmp_path / "work", more=("--metrics", str(prom))
        )
    assert status == 5
    assert target_of_current(bundles) == "another"
    (published,) = (
        one for one in bundles.iterdir() if one.name not in ("current", "another", timed_shop.bundle.path.name)
    )
    assert "was set to another meanwhile. Run the same command again" in caplog.text
    assert f"ln -sfn {published.name} {bundles / 'current'}" in caplog.text
    assert read_bundle(published).manifest.retrained_from == timed_shop.bundle.manifest.version
    assert 'rqrec_retraining_ending{ending="superseded"} 1.0' in prom.read_text(encoding="utf-8")


def test_a_full_disk_of_the_bundles_is_named(
    timed_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    bundles = Path(shutil.copytree(timed_shop.bundles, tmp_path / "bundles", symlinks=True))
    before = sorted(bundles.iterdir())
    monkeypatch.setattr("rqrec.training.publish.write_files", full)
    assert retrain(bundles, timed_shop.events, timed_shop.first, work=tmp_path / "work") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"{bundles} cannot be written ([Errno 28] No space left on device): free space there" in line
    assert "--work-dir" not in line
    assert sorted(bundles.iterdir()) == before


def test_a_folder_of_bundles_that_cannot_be_written_is_refused_before_the_work(
    timed_shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rqrec.models.errors.os.access", lambda folder, _: folder != timed_shop.bundles.resolve())
    assert retrain(timed_shop.bundles, timed_shop.events, timed_shop.first, work=tmp_path / "work") == 2
    assert f"may not write to {timed_shop.bundles.resolve()}" in capsys.readouterr().err
    assert not (tmp_path / "work").exists()


def test_a_copy_of_the_bundles_without_their_link_is_refused_before_the_work(
    timed_shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundles = Path(shutil.copytree(timed_shop.bundles, tmp_path / "bundles"))  # as cp -rL makes it
    assert retrain(bundles, timed_shop.events, timed_shop.first, work=tmp_path / "work") == 2
    assert f"{bundles}/current must be a link to a bundle beside it" in capsys.readouterr().err
    assert not (tmp_path / "work").exists()
