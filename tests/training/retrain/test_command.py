"""The command line of a retraining: what it refuses, and how it repeats."""

import signal
from pathlib import Path

import pytest

from rqrec.training.retrain import __main__ as command
from rqrec.training.retrain.outcome import Ending, Outcome


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
