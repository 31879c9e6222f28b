"""Chooses the folder of bundles to serve if the environment variable RQREC_BUNDLE is not set."""

from pathlib import Path

from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.layout import CURRENT

PUBLISHED = "artifacts/*/bundles"  # what `rqrec train` and `make train` write below the working folder
USUAL = Path("artifacts/work/bundles")  # what `rqrec train` writes without options


def published_folders(root: Path) -> list[Path]:
    """Lists the folders `artifacts/*/bundles` in which a bundle was published, the one with the latest bundle first.

    Publishing a bundle replaces the symbolic link `current` in the folder of bundles. So the modification time of the
    link tells when the last bundle was published in that folder.

    Args:
        root: The folder that contains `artifacts`.
    """
    links = [folder / CURRENT for folder in root.glob(PUBLISHED) if (folder / CURRENT).is_symlink()]
    links.sort(key=lambda link: (link.lstat().st_mtime_ns, str(link)), reverse=True)
    return [link.parent for link in links]


def default_bundle() -> Path:
    """Returns the folder of bundles, below the working directory, in which a bundle was published last.

    If no bundle was published below the working directory, returns `artifacts/work/bundles`.
    """
    return next(iter(published_folders(Path())), USUAL)


def describe_choice(chosen: Path) -> str:
    """Returns a line for the log that says which folder of bundles is served, and why.

    Args:
        chosen: The folder that `default_bundle` returned.

    Raises:
        BundleError: If no bundle was published below the working directory. The message says where it searched.
    """
    published = published_folders(Path())
    if not published:
        raise BundleError(
            f"RQREC_BUNDLE is not set, and there is no published bundle in {Path.cwd() / PUBLISHED}: train one with "
            "`rqrec train`, or let RQREC_BUNDLE name a bundle or a folder of bundles"
        )
    others = ", ".join(str(folder) for folder in published if folder != chosen)
    reason = f"published later than {others}" if others else "the only one published here"
    return f"RQREC_BUNDLE is not set: serving {chosen}, {reason}"
