"""What a run promises of its folder: pinned inputs, one entry a stage, one run at a time, checkpoints by key."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import rqrec.training.data.prepare
import rqrec.training.data.sources
from rqrec.training.data.dataset import DataError
from rqrec.training.data.prepare import load_prepared
from rqrec.training.evaluate import load_results
from rqrec.training.run import Run, RunSettings
from rqrec.training.runtime.workspace import KEPT_KEYS, Stage, Workspace, open_workspace
from rqrec.training.runtime.workspace_lock import WorkspaceBusy
from tests.conftest import small_settings, write_shop

SHORT = ("RqVaeSettings.steps = 2", "DecoderSettings.epochs = 1")
STAGES = (
    *("data", "features", "rqvae", "semantic_ids", "short_term", "decoder", "evaluation"),
    *("short_term_refit", "decoder_refit", "report"),
)
REPOSITORY = Path(__file__).parents[3]


@dataclass(frozen=True)
class Nothing:
    """Settings of a stage that has none."""


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the stages in the order in which they were entered."""
    names: list[str] = []

    def counting(method: Callable[..., Stage]) -> Callable[..., Stage]:
        def enter(workspace: Workspace, name: str, **arguments: Any) -> Stage:
            names.append(name)
            return method(workspace, name, **arguments)

        return enter

    for method in ("run", "run_in_parts", "train"):
        monkeypatch.setattr(Workspace, method, counting(getattr(Workspace, method)))
    return names


@pytest.mark.usefixtures("without_search_graph")
def test_a_run_enters_every_stage_once_and_looks_at_its_inputs_once(
    tmp_path: Path, configure: Callable[..., RunSettings], entered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Counter[str] = Counter()
    load = rqrec.training.data.sources.load_dataset

    def load_dataset(source: str, **arguments: Any) -> Any:
        read[source] += 1
        return load(source, **arguments)

    monkeypatch.setattr(rqrec.training.data.prepare, "load_dataset", load_dataset)
    settings = configure(*SHORT)
    with open_workspace(tmp_path / "work", tmp_path) as workspace:
        run = Run(workspace, settings)
        assert load_results(run.evaluation)
        assert run.bundle.is_dir()
        assert sorted(entered) == sorted(STAGES)
        assert read == {settings.dataset.source: 1}
        entered.clear()
        assert Run(workspace, settings).bundle == run.bundle  # no stage runs again
        assert sorted(entered) == sorted(STAGES)
        assert read == {settings.dataset.source: 1}


def append_row(shop: Path) -> None:
    with (shop / "ratings.csv").open("a") as file:
        file.write("9999,100,4.0,1\n9999,101,4.0,2\n9999,102,4.0,3\n")


@pytest.mark.usefixtures("without_search_graph")
def test_a_row_that_comes_while_a_run_trains_is_the_next_runs(tmp_path: Path) -> None:
    shop = write_shop(tmp_path / "shop")
    settings = small_settings(shop, *SHORT)
    with open_workspace(tmp_path / "work", tmp_path) as workspace:
        run = Run(workspace, settings)
        rows = len(load_prepared(run.data).interactions)
        assert run.rqvae.is_current
        append_row(shop)
        printed = load_results(run.evaluation)
        assert run.bundle.is_dir()
        assert [stage.is_current for stage in (run.data, run.features, run.rqvae, run.tokens, run.decoder)] == [
            True
        ] * 5
        assert len(load_prepared(run.data).interactions) == rows
        assert load_results(run.evaluation) == printed
    with open_workspace(tmp_path / "work", tmp_path) as workspace:
        later = Run(workspace, settings)
        assert len(load_prepared(later.data).interactions) == rows + 3
        assert later.rqvae.key != run.rqvae.key


def test_files_that_change_while_they_are_read_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = write_shop(tmp_path / "shop")
    load = rqrec.training.data.sources.load_dataset

    def load_dataset(source: str, **arguments: Any) -> Any:
        append_row(shop)
        return load(source, **arguments)

    monkeypatch.setattr(rqrec.training.data.prepare, "load_dataset", load_dataset)
    with (
        open_workspace(tmp_path / "work", tmp_path) as workspace,
        pytest.raises(DataError, match="changed while they were read: run the same command again"),
    ):
        assert Run(workspace, small_settings(shop)).data
    assert not (tmp_path / "work" / "data").exists()


def test_a_folder_is_open_to_one_run_at_a_time(tmp_path: Path) -> None:
    with (
        open_workspace(tmp_path, tmp_path),
        pytest.raises(
            WorkspaceBusy,
            match=rf"another run \(process {os.getpid()}\) uses the workspace {tmp_path}: wait .*--work-dir",
        ),
        open_workspace(tmp_path, tmp_path),
    ):
        pass
    with open_workspace(tmp_path, tmp_path):
        pass


def test_a_killed_run_leaves_its_folder_open(tmp_path: Path) -> None:
    hold = "import sys, time; from pathlib import Path\n"
    hold += "from rqrec.training.runtime.workspace import open_workspace as w\n"
    hold += "with w(Path(sys.argv[1]), Path('.')): print('open', flush=True); time.sleep(300)"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(WorkspaceBusy), open_workspace(tmp_path, tmp_path):
            pass
        holder.kill()
    with open_workspace(tmp_path, tmp_path):
        pass


def train(workspace: Workspace, version: int, write: Callable[[Path, Path], None]) -> Stage:
    return workspace.train("toy", inputs=[], settings=Nothing(), write=write, version=version)


def interrupt(workspace: Workspace, version: int) -> Path:
    """Begins a training that ends after its first checkpoint; returns the checkpoints' folder."""
    seen: list[Path] = []

    def write(_directory: Path, checkpoints: Path) -> None:
        seen.append(checkpoints)
        (checkpoints / "step-00000001").mkdir(parents=True, exist_ok=True)
        os.utime(checkpoints, ns=(version, version))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(workspace, version, write)
    return seen[0]


def checkpoints_of(workspace: Workspace) -> set[Path]:
    return set(workspace.root.glob("toy-checkpoints/*"))


def test_interrupted_trainings_keep_their_checkpoints_beside_each_other(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, tmp_path)
    first = interrupt(workspace, 1)
    others = [interrupt(workspace, version) for version in range(2, KEPT_KEYS + 1)]
    assert checkpoints_of(workspace) == {first, *others}
    assert interrupt(workspace, 1) == first  # which makes it the oldest no longer
    os.utime(first, ns=(100, 100))
    new = interrupt(workspace, 50)
    assert len(checkpoints_of(workspace)) == KEPT_KEYS
    assert {first, new} <= checkpoints_of(workspace)
    assert others[0] not in checkpoints_of(workspace)


def test_a_training_that_ends_removes_its_own_checkpoints_alone(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, tmp_path)
    first, second = interrupt(workspace, 1), interrupt(workspace, 2)
    train(workspace, 2, lambda directory, _checkpoints: (directory / "done").touch())
    assert checkpoints_of(workspace) == {first}
    train(workspace, 1, lambda directory, _checkpoints: (directory / "done").touch())
    assert not second.parent.exists()


def test_starting_over_removes_the_checkpoints_of_this_training_alone(tmp_path: Path) -> None:
    first, second = (interrupt(Workspace(tmp_path, tmp_path), version) for version in (1, 2))
    found: list[bool] = []
    again = Workspace(tmp_path, tmp_path, resume=False)
    train(again, 2, lambda directory, checkpoints: found.append(checkpoints.exists()))
    assert found == [False]
    assert checkpoints_of(again) == {first}
    assert second not in checkpoints_of(again)


@pytest.mark.parametrize("stamp", [b"", b"{", b"[]", b"\xff", None])
def test_a_result_whose_stamp_cannot_be_read_is_made_again(tmp_path: Path, stamp: bytes | None) -> None:
    workspace = Workspace(tmp_path, tmp_path)
    made: list[Path] = []

    def make() -> Stage:
        return workspace.run("toy", inputs=[], settings=Nothing(), write=made.append)

    stage = make()
    if stamp is None:
        shutil.rmtree(stage.path)
    else:
        (stage.path / "stage.json").write_bytes(stamp)
    assert make() == stage
    assert len(made) == 2
    assert make().is_current
    assert len(made) == 2
