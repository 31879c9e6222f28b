"""What the world sees of a published bundle: who may read it, and that equal runs publish equal bundles."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from safetensors.numpy import save_file

from rqrec.models.bundle.bundle import Bundle, read_bundle
from rqrec.models.bundle.layout import CURRENT, HALF_SEARCH_GRAPH, MANIFEST
from rqrec.models.files import new_directory
from rqrec.training.bundling.bundle_files import payload_column
from rqrec.training.publish import BUNDLES
from rqrec.training.run import Run, RunSettings
from rqrec.training.runtime.workspace import Workspace
from tests.conftest import SMALL_CONFIG

REPOSITORY = Path(__file__).parents[2]
NOBODY = 65534


@pytest.fixture
def strict_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def unpublished(run: Run, folder: Path) -> Path:
    """A copy of a run's workspace without its bundles: the rounding of a second training is not what is tested."""
    return Path(shutil.copytree(run.workspace.root, folder / "work", ignore=shutil.ignore_patterns(BUNDLES)))


@pytest.fixture(scope="module")
def published(trained: Run, shop: Path) -> Iterator[Path]:
    """A second bundle of the run's weights, by a process of its own, under a strict umask and another hash seed."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # unlike pytest's own folders, others may enter it
        config, work = Path(name) / "small.gin", unpublished(trained, Path(name))
        config.write_text("\n".join(SMALL_CONFIG))
        command = [sys.executable, "-m", "rqrec.training.pipeline", str(config), "--dataset", str(shop), "--work-dir"]
        environment = {**os.environ, "PYTHONHASHSEED": "1"}
        subprocess.run([*command, str(work)], cwd=REPOSITORY, check=True, env=environment, umask=0o077)
        yield work / BUNDLES


def modes(folder: Path) -> dict[bool, set[int]]:
    """The modes of a folder and of all below it: of folders under True, of files under False."""
    found: dict[bool, set[int]] = {True: set(), False: set()}
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            found[path.is_dir()].add(stat.S_IMODE(path.stat().st_mode))
    return found


@pytest.mark.usefixtures("strict_umask")
def test_whatever_is_put_in_place_may_be_read_by_all_whatever_the_umask(tmp_path: Path) -> None:
    with new_directory(tmp_path / "a" / "b" / "bundle") as directory:
        save_file({}, directory / "weights.safetensors")
        with tempfile.NamedTemporaryFile(dir=directory, delete=False) as file:
            file.write(b"of mode 0600")
        Path(tempfile.mkdtemp(dir=directory)).joinpath("inner").touch()
    assert modes(tmp_path / "a") == {True: {0o755}, False: {0o644}}


def test_every_file_of_a_bundle_may_be_read_by_all(published: Path) -> None:
    assert modes(published) == {True: {0o755}, False: {0o644}}
    assert (published / CURRENT).is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_reads_what_was_published(published: Path) -> None:
    files = [path for path in (published / CURRENT).iterdir() if path.is_file()]
    assert MANIFEST in {path.name for path in files}
    subprocess.run(["cat", *files], check=True, stdout=subprocess.DEVNULL, user=NOBODY, group=NOBODY, extra_groups=[])


@pytest.mark.usefixtures("without_search_graph")
def test_the_search_in_half_precision_is_published_if_it_is_asked_for(
    trained: Run, bundle: Bundle, configure: Callable[..., RunSettings], tmp_path: Path
) -> None:
    workspace = Workspace(unpublished(trained, tmp_path), trained.workspace.data_dir)
    asked = Run(workspace, configure("PublishSettings.half_precision = True")).bundle
    assert HALF_SEARCH_GRAPH in read_bundle(asked).manifest.checksums
    assert HALF_SEARCH_GRAPH not in bundle.manifest.checksums
    assert not (bundle.path / HALF_SEARCH_GRAPH).exists()


def test_equal_weights_are_published_as_equal_bundles(published: Path, bundle: Bundle) -> None:
    one, other = bundle, read_bundle(published)
    assert one.path.name == other.path.name
    for path in one.path.iterdir():
        assert path.name == MANIFEST or path.read_bytes() == (other.path / path.name).read_bytes(), path.name
    assert one.manifest.digest == other.manifest.digest
    assert replace(one.manifest, created_at="", checksums={}) == replace(other.manifest, created_at="", checksums={})


def test_the_digest_of_a_bundle_says_all_but_when(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert replace(manifest, created_at="another time").digest == manifest.digest
    assert replace(manifest, config="another").digest != manifest.digest
    assert replace(manifest, checksums={**manifest.checksums, "items.parquet": "another"}).digest != manifest.digest


def test_graphs_hold_nothing_of_the_process_that_wrote_them(bundle: Bundle) -> None:
    for graph in bundle.path.glob("*.onnx"):
        content = graph.read_bytes()
        assert b".py" not in content
        assert b" at 0x" not in content


def test_payload_holds_what_json_can_and_no_vectors() -> None:
    frame = pl.DataFrame(
        {
            "item_id": ["a"],
            "released": [date(2020, 1, 2)],
            "price": [Decimal("1.50")],
            "score": [float("nan")],
            "image": pl.Series([[1.0, 2.0]], dtype=pl.Array(pl.Float32, 2)),
        }
    )
    shown = [payload_column(frame[name]) for name in frame.columns]
    assert [column.to_list()[0] for column in shown] == ["a", "2020-01-02", 1.5, None, None]
    assert shown[-1].dtype == pl.Null
