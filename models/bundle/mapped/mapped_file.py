"""Maps a file of a bundle into memory; a fault of the file is told with its name."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from rqrec.models.bundle.error import reading
from rqrec.models.mapped_rows import map_rows


def map_file(folder: Path, name: str, *, room: int = 0) -> NDArray[Any]:
    """Maps a file of a bundle into memory; see `models.mapped_rows.map_rows`.

    Args:
        folder: The bundle's folder.
        name: The name of the file.
        room: The number of rows of zeros after those of the file.

    Raises:
        BundleError: If the file cannot be read, or holds no rows of numbers.
    """
    with reading(folder, name):
        return map_rows(folder / name, room=room)
