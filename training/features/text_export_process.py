"""Exports the text encoder in a process of its own, while the caller exports the other graphs of the bundle.

The export is Python code, so two threads would not run at the same time. `multiprocessing` would import the caller's
script again. So the new process runs this module, and reads from its standard input what to export.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from rqrec.models.errors import MissingPackage
from rqrec.training.features.text_export import TEXTS_COMPARED, write_text_encoder

COMMAND = (sys.executable, "-m", "rqrec.training.features.text_export_process")
logger = logging.getLogger("rqrec")


@contextmanager
def text_encoder_export(name: str, texts: Sequence[str], folder: Path) -> Iterator[Callable[[], str]]:
    """Starts a process that exports the text encoder to a bundle, and yields a function that waits for its end.

    An export that still runs at the end of the `with` block is stopped.

    Args:
        name: Name of the encoder; see `training.features.text.load_text_encoder`.
        texts: The items' texts; see `training.features.text_export.write_text_encoder`.
        folder: The bundle's folder.

    Yields:
        A function that returns the reason why the bundle holds no text encoder; an empty text if it holds one. It
        raises MissingPackage if the encoder's package is not installed.
    """
    job = {"name": name, "texts": list(texts[:TEXTS_COMPARED]), "folder": str(folder.resolve())}
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    # One thread: the caller computes on the other cores.
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    with TemporaryFile() as written:
        written.write(json.dumps(job).encode())
        written.seek(0)
        process = subprocess.Popen(
            COMMAND, stdin=written, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
        )
    with process:
        try:
            yield lambda: _reason(process, name)
        finally:
            process.kill()


def _reason(process: subprocess.Popen[str], name: str) -> str:
    """Waits for the process, and returns why it wrote no text encoder, which is also a warning."""
    output, errors = process.communicate()
    if process.returncode:
        last_line = errors.strip().rpartition("\n")[2]
        reason = f"the export of the text encoder {name!r} ended with exit status {process.returncode}: {last_line}"
    else:
        answer = json.loads(output.rpartition("\n")[2])
        if answer["missing_package"]:
            raise MissingPackage(answer["missing_package"])
        reason = answer["reason"]
    if reason:
        logger.warning("%s: every new item with text must be sent with its text_vector", reason)
    return reason


def main() -> None:
    """Exports a text encoder to a bundle, in the process that `text_encoder_export` starts.

    The standard input is a JSON object: the encoder's name, the texts and the bundle's folder. The last line of the
    standard output is a JSON object: the reason why the export failed, and the message about a missing package. Each is
    empty if there is none.
    """
    job = json.load(sys.stdin)
    reason = missing_package = ""
    try:
        reason = write_text_encoder(job["name"], job["texts"], Path(job["folder"]))
    except MissingPackage as error:
        missing_package = str(error)
    sys.stdout.write("\n" + json.dumps({"reason": reason, "missing_package": missing_package}))


if __name__ == "__main__":
    main()
