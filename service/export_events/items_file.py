"""The file of written items, from which a retraining learns the items that its bundle does not have.

    <folder>/items.written.jsonl

Each line is a JSON object: `item_id`, the attributes, and the vectors that the client sent with the item, such as
`text_vector`. The types of numbers and lists stay, and no schema is needed to write them.
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rqrec.models.bundle.tables import ITEM_ID
from rqrec.models.errors import NotWritten
from rqrec.models.files import UNFINISHED, to_disk, write_file
from rqrec.service.catalogue.changes import Put
from rqrec.service.catalogue.item_content import TEXT_VECTOR, VECTORS

NAME = "items.written.jsonl"  # training finds a table of items by the name `items.*`


class ItemsFile:
    """The file of written items in a folder of exported events. Whoever writes it must hold the lock of `EventFiles`.

    Args:
        folder: The folder of the exported events.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / NAME

    def others(self) -> list[Path]:
        """Returns the other files or folders whose name makes them a table of items."""
        return sorted(path for path in self._folder.glob("items*") if _is_table(path) and path != self._file)

    def replace(self, items: Sequence[Put]) -> int:
        """Writes the items instead of all earlier ones. After a crash the old file or the new one is there as a whole.

        Without items there is no file, because a table of items must not be empty.

        Args:
            items: The last `Put` of each item.

        Returns:
            The number of items.

        Raises:
            NotWritten: If the file cannot be written. The old one stays as it was.
        """
        for left_unfinished in self._folder.glob(f"{UNFINISHED}*{NAME}"):  # by a process that was killed
            left_unfinished.unlink()
        if not items:
            self._file.unlink(missing_ok=True)
            to_disk(self._folder)
            return 0
        try:
            write_file(self._file, partial(_write_rows, items))
        except OSError as error:
            raise NotWritten.because(error, self._file) from error
        return len(items)


def _write_rows(items: Sequence[Put], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(_row(put)) + "\n" for put in items)


def _is_table(path: Path) -> bool:
    return path.name.partition(".")[0] == "items"


def _row(put: Put) -> dict[str, object]:
    hidden = json.loads(put.hidden)
    row = {ITEM_ID: put.item_id, **put.item.attributes, **hidden.get(VECTORS, {})}
    if (text_vector := hidden.get(TEXT_VECTOR)) is not None:
        row[TEXT_VECTOR] = text_vector
    return row
