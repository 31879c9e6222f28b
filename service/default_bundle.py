"""Chooses the folder of bundles to serve where RQREC_BUNDLE names none."""

from pathlib import Path

from rqrec.models.bundle.error import BundleError
from rqrec.models.bundle.layout import CURRENT

PUBLISHED = "artifacts/*/bundles"  # what `rqrec train` and `make train` write below the working folder
USUAL = Path("artifacts/work/bundles")  # what `rqrec train` writes without options


def published_folders(root: Path) -> list[Path]:
    """Lists the folders of published bundles below a folder, the one published last first.

    Publishing writes the link `current` anew, so the age of that link tells which folder was published last.
    """
    links = [folder / CURRENT for folder in root.glob(PUBLISHED) if (folder / CURRENT).is_symlink()]
    links.sort(key=lambda link: (link.lstat().st_mtime_ns, str(link)), reverse=True)
    return [link.parent for link in links]


def default_bundle() -> Path:
    """Returns the folder that was published last below the working folder; the usual folder if there is none."""
    return next(iter(published_folders(Path())), USUAL)


def describe_choice(chosen: Path) -> str:
    """Says in one line, for the log, which folder was chosen and why.

    Args:
        chosen: What `default_bundle` returned.

    Raises:
        BundleError: If nothing was published below the working folder; says where bundles were looked for.
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
