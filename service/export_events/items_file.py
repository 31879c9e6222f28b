"""The file of written items, from which a retraining learns the items that its bundle does not have.

    <folder>/items.written.jsonl

Each line is a JSON object: `item_id`, the attributes, and the vectors that the client sent with the item, such as
`text_vector`. The types of numbers and lists stay, and no schema is needed to write them.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from rqrec.models.bundle.tables import ITEM_ID
from rqrec.models.files import to_disk
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

    def replace(self, items: Iterable[Put]) -> int:
        """Writes the items instead of all earlier ones. After a crash the old file or the new one is there as a whole.

        Without items there is no file, because a table of items must not be empty.

        Args:
            items: The last `Put` of each item.

        Returns:
            The number of items.
        """
        unfinished, count = self._folder / f".{NAME}", 0
        with unfinished.open("w", encoding="utf-8") as file:
            for count, put in enumerate(items, start=1):  # noqa: B007 - counts
                file.write(json.dumps(_row(put)) + "\n")
        if count:
            to_disk(unfinished)
            unfinished.rename(self._file)
        else:
            unfinished.unlink()
            self._file.unlink(missing_ok=True)
        to_disk(self._folder)
        return count


def _is_table(path: Path) -> bool:
    return path.name.partition(".")[0] == "items"


def _row(put: Put) -> dict[str, object]:
    hidden = json.loads(put.hidden)
    row = {ITEM_ID: put.item_id, **put.item.attributes, **hidden.get(VECTORS, {})}
    if (text_vector := hidden.get(TEXT_VECTOR)) is not None:
        row[TEXT_VECTOR] = text_vector
    return row
