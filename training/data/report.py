"""The report of reading: what was read, what was dropped or changed, and why."""

from dataclasses import dataclass, field, replace

from rqrec.training.data.columns import INTERACTIONS, NOT_USED, Column


@dataclass
class DataReport:
    """Collects one line for every decision about the data, so that no change is silent.

    Attributes:
        lines: The decisions in the order in which they were made.
        columns: The columns of the interactions, and those of the items that are not read.
    """

    lines: list[str] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)

    def note_not_used(self, path: str, column: str, reason: str) -> None:
        """Says that a column of the interactions that could be read is not used.

        Args:
            path: The file.
            column: The column's standard name.
            reason: Why.
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
