"""Builds the package as a user gets it, and environments in which nothing else of this repository can be imported."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGED = ("LICENSE", "README.md", "configs", "models", "pyproject.toml", "rqrec", "service", "training")
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))


@dataclass(frozen=True)
class Environment:
    """A virtual environment with the wheel in it.

    Attributes:
        folder: Its folder.
    """

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.folder / "lib" / version / "site-packages"

    def run(self, *command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs a program of the environment, without this repository's variables."""
        inherited = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "RQREC_BUNDLE"}}
        program = str(self.folder / "bin" / command[0])
        return subprocess.run(
            [program, *command[1:]],
            check=False,
            cwd=cwd,
            env=inherited | variables,
            capture_output=True,
            text=True,
            timeout=120,
        )


def pip(*arguments: str, cwd: Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", "--no-input", *arguments], check=True, cwd=cwd)


def required_distributions(names: Iterable[str]) -> Iterator[str]:
    """Gives the names of these distributions and of all that they require, without extras."""
    found, waiting = set[str](), [canonicalize_name(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        yield name
        for text in distribution(name).requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(requirement.name))


def link_distributions(names: Iterable[str], target: Path) -> None:
    """Links the files of these distributions, and of all that they require, from this environment into another."""
    for name in required_distributions(names):
        files = distribution(name).files or []
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            if not (target / top).exists():
                (target / top).symlink_to(SITE_PACKAGES / top)


def build_wheel(source: Path, target: Path) -> Path:
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(target), str(source), cwd=target.parent)
    (wheel,) = target.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files that a build reads; links stay links. A build in the repository would leave files there."""
    folder = tmp_path_factory.mktemp("source")
    for name in PACKAGED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("sdist")
    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(target)], check=True, cwd=source, capture_output=True)
    (archive,) = target.glob("*.tar.gz")
    return archive


def environment(folder: Path, wheel: Path) -> Environment:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    made = Environment(folder)
    pip("--python", str(made.python), "install", "--no-deps", "--no-index", str(wheel), cwd=folder)
    return made


@pytest.fixture(scope="session")
def client_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel and what the extra `client` brings. Nothing else can be imported."""
    made = environment(tmp_path_factory.mktemp("client"), wheel)
    link_distributions(["httpx", "httpx-retries", "pydantic"], made.site_packages)
    return made


@pytest.fixture(scope="session")
def full_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel, and every package of this environment but the editable install of this repository."""
    made = environment(tmp_path_factory.mktemp("full"), wheel)
    (made.site_packages / "others.pth").write_text(f"{SITE_PACKAGES}\n")
    return made
