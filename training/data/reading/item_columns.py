"""Decides which columns of an items file are read, and which names they have in training."""

from collections.abc import Sequence

from rqrec.training.data.columns import NOT_USED, Column
from rqrec.training.data.dataset import DataError
from rqrec.training.data.reading.names import ITEMS, require_names, resolve_names
from rqrec.training.data.report import DataReport
from rqrec.training.data.settings import DatasetSettings

ROW_NUMBERS = ("", "Unnamed: 0", "__index_level_0__")  # pandas writes the numbers of rows under these names
IGNORED = "not read, by DatasetSettings.ignored_columns"


def item_columns(
    columns: Sequence[str], settings: DatasetSettings, *, path: str, report: DataReport, fields: Sequence[str] = ()
) -> dict[str, str]:
    """Returns the columns of an items file that are read: the name in training of each, by its name in the file.

    Args:
        columns: The names of the columns in the file.
        settings: The columns that have other names in the file, and those that are not read.
        path: Name of the items file, for messages.
        report: Receives a line for every column that is not read or has another name in training.
        fields: The names of fields of objects, such as `details.brand`. `settings.ignored_columns` may name them too.

    Raises:
        DataError: If no column is the item_id, two columns would get the same name, or the file does not have a column
            of `settings.ignored_columns`.
    """
    if strange := [name for name in settings.ignored_columns if name not in {*columns, *fields}]:
        raise DataError(
            f"{path} must have the columns of DatasetSettings.ignored_columns, but {strange} are missing: it has "
            f"{list(fields or columns)}"
        )
    has_rows = [name for name in columns if name in ROW_NUMBERS]
    if has_rows:
        report.note(f"{path}: columns {has_rows} are not read, because they hold the numbers of the rows")
    report.columns += [Column(ITEMS, name, NOT_USED, "the numbers of the rows") for name in has_rows]
    report.columns += [Column(ITEMS, name, NOT_USED, IGNORED) for name in settings.ignored_columns]
    not_read = {*has_rows, *settings.ignored_columns}
    read = [name for name in columns if name not in not_read]
    names = resolve_names(read, ITEMS, settings.columns, path=path, report=report)
    require_names(names, ITEMS, read, settings.columns, path=path)
    in_training = {name: standard for standard, name in names.items()}
    taken = [name for name in read if name in names and name not in in_training]
    if taken:
        raise DataError(
            f"{path}: DatasetSettings.columns reads {taken[0]} from {names[taken[0]]!r}, but there is a column "
            f"{taken[0]!r} as well: add it to DatasetSettings.ignored_columns"
        )
    return {name: in_training.get(name, name) for name in read}
