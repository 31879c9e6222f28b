"""A real wheel, in environments of its own: what it brings, and what works from any folder."""

import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT, Environment, build_wheel

HEAVY = {"fastapi", "numpy", "polars", "redis", "starlette", "torch"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
USES_THE_CLIENT = """
from rqrec.client import Client

with Client("http://localhost:8000") as client:
    title: {kind} = client.recommend(["1"], k=3).items[0].item_id
"""

# One process shows the help of several commands, because it takes seconds to import PyTorch.
HELP_ENDS = "\nexit status 0\n"
HELPS = """
import sys
from rqrec.cli import main

for command in sys.argv[1:]:
    try:
        main([command, "--help"])
    except SystemExit as ended:
        print(f"\\nexit status {ended.code}")
"""


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def test_the_wheel_adds_one_name(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in contents(wheel)}
    assert tops == {"rqrec", f"rqrec-{PROJECT['version']}.dist-info"}


def test_the_wheel_holds_every_module_and_data_file(wheel: Path) -> None:
    folders = ("configs", "models", "service", "training")
    modules = {f"rqrec/{path.relative_to(ROOT)}" for folder in folders for path in (ROOT / folder).rglob("*.py")}
    configs = {f"rqrec/configs/{path.name}" for path in (ROOT / "configs").glob("*.gin")}
    own = {str(path.relative_to(ROOT)) for path in (ROOT / "rqrec").glob("**/*.py")}
    explorer = {f"rqrec/{path.relative_to(ROOT)}" for path in (ROOT / "service/explorer").rglob("*.*")}
    assert "rqrec/service/explorer/index.html" in explorer
    held = {name for name in contents(wheel) if name.startswith("rqrec/")}
    assert held == modules | configs | own | explorer | {"rqrec/py.typed"}


def test_the_source_distribution_builds_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    target = tmp_path / "wheel"
    target.mkdir()
    assert contents(build_wheel(sdist, target)) == contents(wheel)


def test_the_package_alone_requires_nothing(wheel: Path) -> None:
    required = metadata(wheel).get_all("Requires-Dist") or []
    assert required
    assert [one for one in required if "extra ==" not in one] == []


def test_the_metadata_has_what_a_registry_shows(wheel: Path) -> None:
    shown = metadata(wheel)
    urls = {line.partition(",")[0] for line in shown.get_all("Project-URL") or []}
    assert urls == {"Homepage", "Documentation", "Changelog", "Issues"}
    assert all(f"Programming Language :: Python :: 3.{minor}" in str(shown) for minor in (11, 12, 13, 14))
    heading = "Unreleased" if ".dev" in str(shown["Version"]) else shown["Version"]
    assert f"## [{heading}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_version_has_one_source(client_environment: Environment, tmp_path: Path) -> None:
    done = client_environment.run("rqrec", "--version", cwd=tmp_path)
    assert done.stdout == f"rqrec {PROJECT['version']}\n"


def test_the_client_works_beside_packages_of_the_same_names(client_environment: Environment, tmp_path: Path) -> None:
    for name in ("models", "service", "training", "configs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("OWNER = 'the user'\n")
    code = "import models, service, training, rqrec.client; print(models.OWNER, service.OWNER, rqrec.client.__file__)"
    done = client_environment.run("python", "-c", code, cwd=tmp_path)
    assert done.stdout.startswith(f"the user the user {client_environment.folder}"), done.stderr


def test_the_client_imports_nothing_heavy(full_environment: Environment, tmp_path: Path) -> None:
    code = "import sys, rqrec.client; print(*{name.partition('.')[0] for name in sys.modules})"
    done = full_environment.run("python", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) & HEAVY == set()
    importable = full_environment.run("python", "-c", f"import {', '.join(HEAVY)}", cwd=tmp_path)
    assert importable.returncode == 0, importable.stderr  # so the check above could have failed


@pytest.mark.parametrize(("kind", "is_right"), [("str", True), ("int", False)])
def test_a_type_checker_sees_the_types(
    client_environment: Environment, tmp_path: Path, kind: str, is_right: bool
) -> None:
    module = tmp_path / "uses_the_client.py"
    module.write_text(USES_THE_CLIENT.format(kind=kind))
    options = [
        "--strict",
        "--python-executable",
        str(client_environment.python),
        "--cache-dir",
        str(tmp_path / "cache"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(module)], check=False, cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode == 0) == is_right, done.stdout
    assert is_right or 'expression has type "str", variable has type "int"' in done.stdout


@pytest.mark.parametrize(
    ("command", "text"),
    [(["--help"], "train-decoder"), (["serve", "--help"], "RQREC_BUNDLE"), (["export-events", "--help"], "--every")],
    ids=["rqrec", "serve", "export-events"],
)
def test_a_light_command_has_a_help(
    full_environment: Environment, tmp_path: Path, command: list[str], text: str
) -> None:
    done = full_environment.run("rqrec", *command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert text in done.stdout
    assert done.stdout.startswith(f"usage: {' '.join(['rqrec', *command[:-1]])} ")


def test_every_training_has_a_help(full_environment: Environment, tmp_path: Path) -> None:
    told = {
        "train": "decoder_ml25m.gin",
        "retrain": "--bundle",
        "train-rqvae": "--work-dir",
        "tokenize-items": "--ray",
        "train-short-term": "--set",
        "train-decoder": "--no-resume",
    }
    done = full_environment.run("python", "-c", HELPS, *told, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    pages = done.stdout.split(HELP_ENDS)
    for page, (command, text) in zip(pages, told.items(), strict=False):
        assert page.startswith(f"usage: rqrec {command} ")
        assert text in page
    assert pages[len(told) :] == [""]


def test_serving_with_an_option_names_the_variables(full_environment: Environment, tmp_path: Path) -> None:
    done = full_environment.run("rqrec", "serve", "--port", "8001", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith(
        "unknown arguments --port 8001: use environment variables, as in RQREC_PORT=8001 rqrec serve\n"
    )


def test_the_package_runs_as_a_module(full_environment: Environment, tmp_path: Path) -> None:
    done = full_environment.run("python", "-m", "rqrec", "--version", cwd=tmp_path)
    assert done.stdout == f"rqrec {PROJECT['version']}\n"


def test_serving_without_a_bundle_is_one_line(full_environment: Environment, tmp_path: Path) -> None:
    done = full_environment.run("rqrec", "serve", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "RQREC_BUNDLE is not set" in line
    assert str(tmp_path / "artifacts/*/bundles") in line


@pytest.mark.parametrize(
    ("command", "extras"), [("serve", "cpu"), ("train", "cpu,train,text"), ("train-rqvae", "cpu,train,text")]
)
def test_a_missing_extra_is_one_line(
    client_environment: Environment, tmp_path: Path, command: str, extras: str
) -> None:
    done = client_environment.run("rqrec", command, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"rqrec {command}: the package ")
    assert f"by pip, as 'rqrec[{extras}]'" in line


def test_packaged_configurations_are_read_from_any_folder(full_environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "own.gin").write_text("include 'configs/decoder_ml25m.gin'\nDecoderSettings.epochs = 3\n")
    code = (
        "from pathlib import Path; from rqrec.training.run import RunSettings\n"
        "from rqrec.training.runtime.config import DEFAULT_CONFIG, read_settings\n"
        "for name in ('decoder.gin', 'configs/rqvae.gin', 'decoder_ml25m.gin', 'own.gin', DEFAULT_CONFIG):\n"
        "    settings = read_settings(RunSettings, [Path(name)])\n"
        "    print(settings.dataset.source, settings.decoder.width, settings.decoder.epochs)"
    )
    done = full_environment.run("python", "-c", code, cwd=tmp_path)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == lines[4] == "ml-100k 128 24"
    assert lines[1].startswith("ml-100k ")
    assert lines[2:4] == ["ml-25m 256 10", "ml-25m 256 3"]


def test_training_names_the_command_and_the_packaged_configurations(
    full_environment: Environment, tmp_path: Path
) -> None:
    done = full_environment.run("rqrec", "train", "nowhere.gin", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("rqrec train: cannot use configuration nowhere.gin: there is no file 'nowhere.gin'")
    assert "decoder.gin, decoder_ml25m.gin" in line
