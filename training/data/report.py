"""The report about the input data: what was read, dropped or changed and why, and all faults that were found."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from rqrec.training.data.columns import INTERACTIONS, NOT_USED, Column
from rqrec.training.data.dataset import DataError


@dataclass
class DataReport:
    """Collects one line of text for every decision about the input data, so that no change is silent.

    Attributes:
        lines: The lines, in the order in which they were added.
        columns: Descriptions of all interaction columns, and of the item columns that are not used.
        rows_read: Number of rows of the interactions file.
        faults: The faults of the data that were found so far. Each text says what to do.
    """

    lines: list[str] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)
    rows_read: int = 0
    faults: list[str] = field(default_factory=list)

    def note_not_used(self, path: str, column: str, reason: str) -> None:
        """Adds a line that a column of the interactions is not used, and marks the column as not used in `columns`.

        Args:
            path: Name of the interactions file.
            column: The standard name of the column, such as "rating".
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

    @contextmanager
    def all_faults(self) -> Iterator[None]:
        """Raises one DataError at the end of the block, with all faults that were found in it.

        A DataError in the block is the last fault of it, because the rest of the block is not reached.
        """
        try:
            yield
        except DataError as error:
            if not self.faults:
                raise
            self.refuse(str(error))
        if len(self.faults) == 1:
            raise DataError(self.faults[0])
        if self.faults:
            raise DataError("\n- ".join([f"the data has {len(self.faults)} faults:", *self.faults]))

    def refuse(self, fault: str) -> None:
        """Adds a fault. The caller goes on as if the fault were mended, so that other faults are found as well."""
        self.faults.append(fault)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Turns a DataError in the block into a fault. The code after the block still runs."""
        try:
            yield
        except DataError as error:
            self.refuse(str(error))
