import errno
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import pytest

from rqrec.models.bundle.error import BundleError
from rqrec.models.errors import MissingPackage, UserError
from rqrec.training.cli import EXIT_INTERRUPTED, EXIT_REFUSED, stage_command
from rqrec.training.data.dataset import DataError
from rqrec.training.evaluation.semantic_id_health import CollapsedSemanticIds
from rqrec.training.run import Run
from rqrec.training.runtime.config import ConfigError
from rqrec.training.runtime.loop import TrainingDiverged, TrainingInterrupted
from rqrec.training.runtime.parts import run_here
from rqrec.training.runtime.workspace import open_workspace
from rqrec.training.runtime.workspace_lock import WorkspaceBusy
from tests.conftest import SMALL_CONFIG

FOR_USERS = (BundleError, CollapsedSemanticIds, ConfigError, DataError, MissingPackage, TrainingDiverged, WorkspaceBusy)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a command whose run fails with an error."""
    config = tmp_path / "empty.gin"
    config.touch()

    def run(error: BaseException | None, *arguments: str) -> None:
        def ask(_run: Run) -> None:
            if error is not None:
                raise error

        line = ["train", str(config), "--work-dir", str(tmp_path / "work"), *arguments]
        monkeypatch.setattr(sys, "argv", line)
        stage_command(ask, None)

    return run


@pytest.mark.parametrize("kind", FOR_USERS)
def test_an_error_made_for_users_is_one_line(
    kind: type[UserError], command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=str(EXIT_REFUSED)):
        command(kind("expected this, got that: do so"))
    assert capsys.readouterr().err == "train: expected this, got that: do so\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_fault_of_the_machine_is_one_line(
    number: int, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=str(EXIT_REFUSED)):
        command(OSError(number, "no luck", "/disk/file"))
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"train: [Errno {number}] no luck: '/disk/file' - ")
    assert complaint.count("\n") == 1
    assert "(--work-dir)" in complaint


def test_a_full_disk_that_a_library_met_is_one_line(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=str(EXIT_REFUSED)):
        command(RuntimeError("I/O error: No space left on device (os error 28)"))
    complaint = capsys.readouterr().err
    assert complaint.startswith("train: I/O error: No space left on device (os error 28) - free space there")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("operands could not be broadcast"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        KeyError("x"),
        ImportError("cannot import name"),
        FloatingPointError("underflow"),
        OSError(errno.EIO, "input/output error"),
        RuntimeError("shapes"),
        AssertionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_fault_of_the_program_keeps_its_traceback(error: Exception, command: Callable[..., None]) -> None:
    with pytest.raises(type(error)) as caught:
        command(error)
    assert caught.value is error


def test_an_interruption_is_one_line(command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=str(EXIT_INTERRUPTED)):
        command(TrainingInterrupted("stopped at step 3"))
    assert capsys.readouterr().err == "train: interrupted: stopped at step 3 - run the same command to resume\n"


def test_a_busy_folder_is_one_line(
    command: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_workspace(tmp_path / "work", tmp_path), pytest.raises(SystemExit, match=str(EXIT_REFUSED)):
        command(None)
    assert capsys.readouterr().err.startswith(
        f"train: another run (process {os.getpid()}) uses the workspace {tmp_path / 'work'}: wait"
    )


def test_a_setting_that_cannot_be_used_is_one_line(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=str(EXIT_REFUSED)):
        command(None, "--set", "DecoderSettings.dropout = 7")
    complaint = capsys.readouterr().err
    assert complaint == "train: cannot use configuration: DecoderSettings.dropout: must be less than 1, got 7\n"


@pytest.mark.skipif(find_spec("ray") is None, reason="the extra ray is not installed")
def test_on_ray_each_stage_runs_once_in_its_place_and_is_told_once(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The workers of Ray Train are played by this process."""
    trained: list[set[str]] = []
    work_dir = tmp_path / "work"

    def train_here(work: Callable[[], None], **_options: object) -> None:
        before = {folder.name for folder in work_dir.iterdir()}
        work()
        trained.append({folder.name for folder in work_dir.iterdir()} - before)

    monkeypatch.setattr("rqrec.models.ray_cluster.ray_cluster", lambda *_arguments, **_options: nullcontext())
    monkeypatch.setattr("rqrec.training.runtime.ray_workers.train_on_ray", train_here)
    monkeypatch.setattr(
        "rqrec.training.runtime.ray_workers.run_tasks_on_ray",
        lambda open_worker, tasks, *, uses_gpu, workers: run_here(open_worker, tasks, uses_gpu=uses_gpu),
    )
    config = tmp_path / "small.gin"
    config.write_text("\n".join([*SMALL_CONFIG, "DecoderSettings.epochs = 1", "ShortTermSettings.epochs = 1"]))
    words = [str(config), "--dataset", str(shop), "--work-dir", str(work_dir), "--ray", "local"]
    stages = ("data", "features", "rqvae", "semantic_ids", "short_term", "decoder")
    for said in ("started", "nothing to do, its result is up to date"):
        with caplog.at_level("INFO", "rqrec"):
            stage_command(lambda run: run.decoder, None, program="train", arguments=words)
        told = [message for message in caplog.messages if message.endswith(said)]
        assert sorted(told) == sorted(f"{stage}: {said}" for stage in stages)
        assert len([message for message in caplog.messages if message.endswith("up to date")]) in {0, len(stages)}
        caplog.clear()
    assert trained == [{"rqvae", "tensorboard"}, {"short_term", "decoder"}]
