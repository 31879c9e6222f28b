"""Manifests and compose file: valid by schema, and in step with the service."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.settings import Settings

ROOT = Path(__file__).parents[2]
MANIFESTS = [
    document
    for file in sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(file.read_text())
]
KINDS = {"Deployment", "StatefulSet", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"}
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda one: f"{one['kind']} {one['metadata']['name']}")
@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
def test_a_manifest_is_valid(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_everything_is_there() -> None:
    assert {manifest["kind"] for manifest in MANIFESTS} == KINDS


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


def test_images_hold_every_package_of_the_distribution() -> None:
    packages = re.search(r"^packages = \[(.*)\]", (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert packages is not None
    for name in {package.split(".")[0] for package in re.findall(r'"([\w.]+)"', packages[1])}:
        assert DOCKERFILE.count(f"COPY {name} {name}\n") == 2
