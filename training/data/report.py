"""The report about the input data: what was read, dropped or changed and why, and all faults that were found."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import polars as pl

from rqrec.training.data.columns import INTERACTIONS, NOT_USED, Column
from rqrec.training.data.dataset import DataError


@dataclass
class DataReport:
    """Collects one line of text for every decision about the input data, so that no change is silent.

    Attributes:
        lines: The lines, in the order in which they were added.
        columns: Descriptions of input columns, which a table shows to the user: all columns of the interactions, and
            the columns of the items that are not read or have no values. The other columns of the items are described
            later, by `columns_of_items`.
        rows_read: Number of rows of the interactions file.
        faults: The faults that were found in the data so far. Each text names the fault and says what to do.
    """

    lines: list[str] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)
    rows_read: int = 0
    faults: list[str] = field(default_factory=list)
    _kept: list[pl.Series] = field(default_factory=list)  # of each call of `keep`, a bit for each row

    def note_not_used(self, path: str, column: str, reason: str) -> None:
        """Adds a line that a column of the interactions is not used, and says so in its description in `columns`.

        Args:
            path: Name of the interactions file.
            column: The column's name in training, such as "rating". Its name in the file may be another one.
            reason: Why the column is not used, such as "it is empty".
        """
        self.note(f"{path}: column {column} is not used, because {reason}")
        self.columns = [
            replace(one, use=NOT_USED, reason=reason) if (one.table, one.use) == (INTERACTIONS, column) else one
            for one in self.columns
        ]

    def note(self, line: str) -> None:
        """Adds a line, unless the report has it already."""
        if line not in self.lines:
            self.lines.append(line)

    def keep(self, rows: pl.DataFrame, is_kept: pl.Series) -> pl.DataFrame:
        """Drops rows of the interactions, and remembers which ones, so that `data_row` finds the others in the file.

        Args:
            rows: The rows of the file that are left.
            is_kept: Whether each of them is kept, bool without null.

        Returns:
            The rows that are kept.
        """
        self._kept.append(is_kept)
        return rows.filter(is_kept)

    def data_row(self, row: int) -> int:
        """Returns which data row of the interactions file a row is, counted from 1.

        Args:
            row: Index of the row among those that `keep` has left, from 0.
        """
        for is_kept in reversed(self._kept):
            row = is_kept.arg_true()[row]
        return row + 1

    @contextmanager
    def all_faults(self) -> Iterator[None]:
        """At the end of a `with` block, raises one DataError with all faults that `refuse` has recorded, if any.

        A DataError that is raised in the block ends the block. It becomes the last of these faults. After the block,
        `faults` is empty, so the report can be used again for the corrected data.
        """
        try:
            with self.attempt():
                yield
            faults = list(self.faults)
        finally:
            self.faults.clear()
            self._kept.clear()
        if len(faults) == 1:
            raise DataError(faults[0])
        if faults:
            raise DataError("\n- ".join([f"the data has {len(faults)} faults:", *faults]))

    def refuse(self, fault: str) -> None:
        """Records a fault of the data, which `all_faults` raises later.

        Nothing is raised here. So the caller can go on and find more faults, and the user sees all of them at once.
        """
        self.faults.append(fault)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Records a DataError that a `with` block raises as a fault. The code after the block still runs."""
        try:
            yield
        except DataError as error:
            self.refuse(str(error))
