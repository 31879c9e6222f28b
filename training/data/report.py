"""The report of reading: what was read, what was dropped or changed, and why."""

from dataclasses import dataclass, field

from rqrec.training.data.columns import Column


@dataclass
class DataReport:
    """Collects one line for every decision about the data, so that no change is silent.

    Attributes:
        lines: The decisions in the order in which they were made.
        columns: The columns of the interactions, and those of the items that are not read.
    """

    lines: list[str] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)

    def note(self, line: str) -> None:
        """Adds a line, unless the report has it already."""
        if line not in self.lines:
            self.lines.append(line)
