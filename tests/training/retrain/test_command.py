"""The command line of a retraining: what it refuses, and how it repeats."""

import errno
import signal
from pathlib import Path

import pytest

from rqrec.models.bundle.error import BundleError
from rqrec.training.data.dataset import DataError, FilesChanged
from rqrec.training.retrain import __main__ as command
from rqrec.training.retrain.outcome import Ending, Outcome
from rqrec.training.runtime.workspace_lock import WorkspaceBusy


def test_a_wrong_time_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["--bundle", "b", "--events", "e", "--every", "daily"])
    assert "expected a time such as 60s, 5m, 1h or 1d, got 'daily'" in capsys.readouterr().err


def test_a_folder_without_a_bundle_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["--bundle", str(tmp_path), "--events", "e", "--work-dir", str(tmp_path / "work")])
    assert f"rqrec retrain: there is no bundle at {tmp_path}" in capsys.readouterr().err


def test_it_repeats_after_the_time_whatever_the_ending_and_a_signal_ends_the_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endings, pauses = iter([Ending.WORSE, Ending.PUBLISHED, Ending.NOTHING_NEW]), []

    def pause(seconds: float) -> None:
        if seconds < 1:  # another part of the process waits
            return
        pauses.append(seconds)
        if len(pauses) == 3:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(command, "_retrain", lambda *_: next(endings))
    monkeypatch.setattr("rqrec.training.retrain.__main__.time.sleep", pause)
    with pytest.raises(SystemExit) as ended:
        command.main(["--bundle", str(tmp_path), "--events", "e", "--every", "1h"])
    assert ended.value.code == 128 + signal.SIGTERM
    assert all(3500 < seconds <= 3600 for seconds in pauses)


class Stopped(Exception):
    """Ends the pause of a repeated command."""


def repeated(monkeypatch: pytest.MonkeyPatch, *turns: Ending | Exception) -> int:
    """Runs the command with --every, and returns how many turns it had before the last pause."""
    left, pauses = list(turns), []

    def turn(*_: object) -> Ending:
        if isinstance(one := left.pop(0), Exception):
            raise one
        return one

    def pause(seconds: float) -> None:
        if seconds > 1:  # another part of the process waits
            pauses.append(seconds)
            if not left:
                raise Stopped

    monkeypatch.setattr(command, "_retrain", turn)
    monkeypatch.setattr("rqrec.training.retrain.__main__.time.sleep", pause)
    with pytest.raises((Stopped, SystemExit)):
        command.main(["--bundle", "b", "--events", "e", "--every", "1h"])
    return len(pauses)


FULL, FORBIDDEN = OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EROFS, "Read-only file system")


@pytest.mark.parametrize("error", [FilesChanged("the files changed"), WorkspaceBusy("another run"), FULL])
def test_an_error_that_passes_by_itself_is_logged_and_ends_no_repetition(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert repeated(monkeypatch, error, Ending.PUBLISHED, error, error) == 4
    assert caplog.text.count(f"retraining: {error}; it is tried again after 60 min") == 3


@pytest.mark.parametrize("error", [DataError("a file is broken"), BundleError("no bundle"), FORBIDDEN])
def test_an_error_ends_a_repetition_if_the_command_has_never_worked(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert repeated(monkeypatch, error, Ending.PUBLISHED) == 0
    assert repeated(monkeypatch, Ending.NOTHING_NEW, error, Ending.PUBLISHED, error) == 4


def test_a_fault_of_the_program_ends_a_repetition(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyError):
        repeated(monkeypatch, Ending.PUBLISHED, KeyError("x"))


def test_metrics_in_a_folder_that_is_not_there_are_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["--bundle", str(tmp_path), "--events", "e", "--metrics", str(tmp_path / "no" / "x.prom")])
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert f"the folder of --metrics must exist, but there is no folder {tmp_path / 'no'}: make it" in complaint


@pytest.mark.parametrize(
    ("ending", "status"), [(Ending.PUBLISHED, 0), (Ending.WORSE, 3), (Ending.FULL_TRAINING_DUE, 4)]
)
def test_the_ending_is_the_exit_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: Ending, status: int
) -> None:
    monkeypatch.setattr(command, "_retrain", lambda *_: ending)
    with pytest.raises(SystemExit, match=str(status)):
        command.main(["--bundle", str(tmp_path), "--events", "e"])


def test_the_metrics_are_replaced_as_a_whole(tmp_path: Path) -> None:
    file = tmp_path / "retraining.prom"
    for ending in (Ending.WORSE, Ending.NOTHING_NEW):
        Outcome(ending, 1.5, 2.5, 3).write(file)
    lines = file.read_text(encoding="utf-8").splitlines()
    assert [*tmp_path.iterdir()] == [file]
    assert "rqrec_retraining_timestamp_seconds 1.5" in lines
    assert 'rqrec_retraining_ending{ending="worse"} 0.0' in lines
    assert 'rqrec_retraining_ending{ending="nothing_new"} 1.0' in lines
    assert not any(line.startswith("rqrec_retraining_ndcg") for line in lines)
