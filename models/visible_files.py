"""Lists the files of a folder and its sub-folders, also behind links."""

from collections.abc import Iterator
from pathlib import Path


def visible_files(folder: Path, hidden: str | tuple[str, ...]) -> Iterator[Path]:
    """Yields the files of a folder and its sub-folders, in any order, and links whose target is missing.

    Links to folders are followed, and no folder is entered twice, so a link to a folder above it does no harm.

    Args:
        folder: The folder. If it is none, nothing is yielded.
        hidden: The beginnings of the names of files and sub-folders that are left out.
    """
    entered = set[Path]()
    folders = [folder]
    while folders:
        inside = folders.pop()
        if not inside.is_dir() or inside.resolve() in entered:
            continue
        entered.add(inside.resolve())
        for one in inside.iterdir():
            if one.name.startswith(hidden):
                continue
            if one.is_dir():
                folders.append(one)
            else:
                yield one
