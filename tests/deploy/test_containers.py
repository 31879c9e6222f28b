"""Manifests and compose file: valid by schema, and in step with the service."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from docker.utils.build import exclude_paths

from rqrec.service.settings import Settings
from rqrec.training.cli import EXIT_REFUSED
from rqrec.training.retrain.__main__ import parser
from rqrec.training.retrain.outcome import Ending

ROOT = Path(__file__).parents[2]
MANIFESTS = [
    document
    for file in sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(file.read_text())
]
KINDS = {
    "Deployment",
    "StatefulSet",
    "Service",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "CronJob",
}
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda one: f"{one['kind']} {one['metadata']['name']}")
@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
def test_a_manifest_is_valid(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_everything_is_there() -> None:
    assert {manifest["kind"] for manifest in MANIFESTS} == KINDS


def test_kubernetes_sets_no_variables_for_the_service_named_rqrec() -> None:
    pods = [
        pod_of(manifest["spec"])
        for manifest in MANIFESTS
        if manifest["kind"] in {"Deployment", "StatefulSet", "CronJob"}
    ]
    assert [pod["enableServiceLinks"] for pod in pods] == [False] * 3


def pod_of(spec: dict[str, Any]) -> dict[str, Any]:
    spec = spec.get("jobTemplate", {"spec": spec})["spec"]
    pod: dict[str, Any] = spec["template"]["spec"]
    return pod


def test_only_settings_that_exist_are_set() -> None:
    files = [DOCKERFILE, (ROOT / "docker-compose.yml").read_text(), *map(str, MANIFESTS)]
    used = set(re.findall(r"RQREC_[A-Z_]+", "\n".join(files))) - {"RQREC_BUNDLES"}  # compose's own, a folder
    assert used <= {f"RQREC_{name.upper()}" for name in Settings.model_fields}


def test_every_setting_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    missing = [name for name in Settings.model_fields if f"`RQREC_{name.upper()}`" not in readme]
    assert missing == []


def test_what_compose_mounts_is_there() -> None:
    mounted = [
        volume.partition(":")[0]
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    ]
    assert mounted
    assert all((ROOT / path).is_dir() for path in mounted)


def instructions(name: str) -> list[tuple[str, list[str]]]:
    """Every instruction of that name in the Dockerfile: the stage that it is in, and its words."""
    found, stage = [], ""
    for line in DOCKERFILE.replace("\\\n", " ").splitlines():
        word, *rest = line.split() or [""]
        stage = rest[-1] if word == "FROM" else stage
        if word == name:
            found.append((stage, rest))
    return found


COMMANDS = {stage: json.loads(" ".join(words)) for stage, words in instructions("CMD")}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Docker's own client sends to a build of what git holds, by .dockerignore."""
    everything, sent = tmp_path_factory.mktemp("everything"), tmp_path_factory.mktemp("sent")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, check=True, cwd=ROOT, capture_output=True, text=True).stdout.split("\0"):
        if name and ((ROOT / name).is_file() or (ROOT / name).is_symlink()):
            (everything / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, everything / name, follow_symlinks=False)
    (everything / "models" / "__pycache__").mkdir()
    (everything / "models" / "__pycache__" / "old.pyc").touch()
    (everything / ".env").touch()
    patterns = (ROOT / ".dockerignore").read_text().splitlines()
    for name in sorted(exclude_paths(str(everything), patterns)):
        target = sent / name
        if any(parent.is_symlink() for parent in (everything / name).parents):
            continue  # a link is sent as a link, without what it leads to
        if (everything / name).is_dir() and not (everything / name).is_symlink():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(everything / name, target, follow_symlinks=False)
    return sent


def test_everything_that_the_dockerfile_copies_is_in_the_context(context: Path) -> None:
    copied = [(stage, words[:-1]) for stage, words in instructions("COPY") if not words[0].startswith("--")]
    assert {stage for stage, _ in copied} == {"build-cpu", "build-gpu", "build-train"}
    missing = [(stage, source) for stage, sources in copied for source in sources if not (context / source).exists()]
    assert missing == []


def test_the_context_holds_nothing_else(context: Path) -> None:
    assert not [path for path in context.rglob("*") if path.name == "__pycache__" or path.suffix == ".pyc"]
    allowed = {"models", "training", "service", "rqrec", "configs", "pyproject.toml", "constraints.txt", "README.md"}
    assert {path.name for path in context.iterdir()} <= {*allowed, "Dockerfile", ".dockerignore"}


def test_what_the_images_install_from_the_context_starts(context: Path, tmp_path: Path) -> None:
    """As the build stages do it, but for the packages that it needs: those are this environment's."""
    for stage in ("build-cpu", "build-gpu", "build-train"):
        folder, target = tmp_path / stage, tmp_path / f"{stage}-installed"
        folder.mkdir()
        for _, words in (one for one in instructions("COPY") if one[0] == stage):
            for source in words[:-1]:
                place = folder / source if words[-1] == "./" else folder / words[-1]
                if (context / source).is_dir():
                    shutil.copytree(context / source, place, symlinks=True)
                else:
                    shutil.copy(context / source, place)
        install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(target), "."]
        subprocess.run([sys.executable, *install], check=True, cwd=folder)
        program, *arguments = COMMANDS[stage.removeprefix("build-")]
        begin = [str(target / "bin" / program), *arguments]
        environment = os.environ | {"PYTHONPATH": str(target), "RQREC_BUNDLE": str(tmp_path / "nowhere")}
        done = subprocess.run(begin, check=False, cwd=target, env=environment, capture_output=True, text=True)
        assert done.returncode == 2
        assert "there is no bundle at" in done.stderr


def test_hosted_ci_runs_the_tests_and_builds_every_image() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert any("make" in step.get("run", "") and "test" in step["run"] for step in jobs["test"]["steps"])
    assert set(jobs["images"]["strategy"]["matrix"]["target"]) == COMMANDS.keys() == {"cpu", "gpu", "train"}


def test_hosted_ci_tests_every_python_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [text.rpartition(" ")[2] for text in project["classifiers"] if "Python :: 3." in text]
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == named == ["3.11", "3.12", "3.13", "3.14"]


def megabytes(text: str) -> float:
    number, unit = re.fullmatch(r"(\d+)([A-Za-z]+)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"mb": 1, "m": 1, "mi": 1, "g": 1024, "gb": 1024, "gi": 1024}[unit.lower()]


def test_redis_refuses_writes_before_it_is_killed() -> None:
    redis = COMPOSE["services"]["redis"]
    (stateful,) = (one for one in MANIFESTS if one["kind"] == "StatefulSet")
    (container,) = stateful["spec"]["template"]["spec"]["containers"]
    ours, theirs = redis["mem_limit"], container["resources"]["limits"]["memory"]
    for arguments, limit in ((redis["command"][1:], ours), (container["args"], theirs)):
        options = dict(zip(arguments[::2], arguments[1::2], strict=True))
        assert options["--maxmemory-policy"] == "noeviction"
        assert megabytes(options["--maxmemory"]) <= 0.7 * megabytes(limit)
        assert (options["--appendonly"], options["--appendfsync"]) == ("yes", "always")


def test_the_images_run_as_the_user_that_the_manifests_name() -> None:
    (deployment,) = (one for one in MANIFESTS if one["kind"] == "Deployment")
    user = deployment["spec"]["template"]["spec"]["securityContext"]["runAsUser"]
    assert dict(instructions("USER")) == {name: [str(user)] for name in ("cpu", "gpu", "train")}


def test_the_images_of_the_service_hold_no_training() -> None:
    extras = [(stage, words[-1]) for stage, words in instructions("RUN") if "--constraint" in words]
    installed = {stage: extra.strip("'") for stage, extra in extras}
    assert installed == {"build-cpu": ".[cpu,otel]", "build-gpu": ".[gpu,otel]", "build-train": ".[cpu,train]"}


def test_the_image_without_a_target_is_that_of_the_service() -> None:
    assert re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, re.MULTILINE)[-1] == "cpu"


def test_a_retraining_that_must_not_be_repeated_is_not() -> None:
    (job,) = (one for one in MANIFESTS if one["kind"] == "CronJob")
    (rule,) = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    refused = {ending.exit_status for ending in Ending if ending is not Ending.SUPERSEDED} - {0}  # it is then repeated
    assert set(rule["onExitCodes"]["values"]) == {EXIT_REFUSED, *refused}


def test_the_deployed_retraining_is_a_command_that_exists() -> None:
    (job,) = (one for one in MANIFESTS if one["kind"] == "CronJob")
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    for program, command, *arguments in (container["args"], COMPOSE["services"]["retrain"]["command"]):
        assert (program, command) == ("rqrec", "retrain")
        options = parser("rqrec retrain").parse_args(arguments)
        assert (str(options.bundle), options.events[0], str(options.work_dir)) == ("/bundles", "/events", "/work")
    assert COMPOSE["services"]["retrain"]["profiles"] == COMPOSE["services"]["export-events"]["profiles"] == ["retrain"]
