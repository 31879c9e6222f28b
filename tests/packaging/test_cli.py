"""The command `rqrec`, and the modules of the checkout."""

import builtins
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rqrec import __version__
from rqrec.cli import COMMANDS, EXIT_REFUSED, main

# As `python -m` runs each of them, but in one process, because it takes seconds to import PyTorch.
RUN_MODULES = """
import os, runpy, sys

for module in sys.argv[1:]:
    sys.argv = [module, *os.environ["ARGUMENTS"].split()]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        print(ended.code)
"""
TRAININGS = ("train", "train-rqvae", "tokenize-items", "train-short-term", "train-decoder")


@pytest.fixture
def hide(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes one module fail to import, as if it was not installed."""

    def hide_module(hidden: str) -> None:
        real: Any = builtins.__import__

        def find(name: str, *arguments: Any) -> Any:
            if name.startswith(("rqrec.service", "rqrec.training")):
                raise ModuleNotFoundError(f"No module named {hidden!r}", name=hidden)
            return real(name, *arguments)

        monkeypatch.setattr(builtins, "__import__", find)

    return hide_module


def test_the_version_is_that_of_the_installed_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"rqrec {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["trian"], ["--verbose"]], ids=str)
def test_a_command_that_is_none_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=str(EXIT_REFUSED)):
        main(arguments)
    assert "usage: rqrec" in capsys.readouterr().err


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"\n  {command} " in shown for command in COMMANDS)


@pytest.mark.parametrize("command", TRAININGS)
def test_a_training_reads_its_own_arguments(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=str(EXIT_REFUSED)):
        main([command, "nowhere.gin"])
    assert f"rqrec {command}: cannot use configuration nowhere.gin" in capsys.readouterr().err


def test_serving_takes_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=str(EXIT_REFUSED)):
        main(["serve", "bundles"])
    assert "unknown arguments bundles: use environment variables" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_package_is_one_line(
    command: str, hide: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    hide("uvicorn.config")
    with pytest.raises(SystemExit, match=str(EXIT_REFUSED)):
        main([command])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"rqrec {command}: the package 'uvicorn' is not installed: install rqrec with its extras by pip, as 'rqrec[cpu"
    )


def test_a_missing_module_of_the_package_itself_keeps_its_traceback(hide: Callable[[str], None]) -> None:
    hide("rqrec.training.cli")
    with pytest.raises(ModuleNotFoundError):
        main(["train"])


def test_the_package_runs_as_a_module(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["rqrec", "--version"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("rqrec", run_name="__main__")
    assert __version__ in capsys.readouterr().out


def test_modules_of_the_checkout_run_from_any_folder(tmp_path: Path) -> None:
    """By the names of the checkout's folders, in the environment that `make setup` makes."""
    config = Path(__file__).parents[2] / "configs/decoder.gin"
    modules = ["training.pipeline", "training.train_rqvae", "training.train_short_term"]
    command = [sys.executable, "-W", "ignore", "-c", RUN_MODULES, *modules]
    environment = {**os.environ, "ARGUMENTS": f"{config} --dataset nowhere"}
    ended = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True, env=environment
    )
    assert ended.stdout.split() == ["2"] * len(modules)
    assert ended.stderr.count("DATASET must be one of") == len(modules)
