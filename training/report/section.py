"""The parts of the training report: sections, and the figures in them."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A figure of the report: a plot or a table, and how to read it.

    Attributes:
        title: What the figure shows.
        body: The plot as SVG, or a table as HTML.
        reading: One sentence on how to read the figure.
        bad: One sentence on what would be bad.
        is_wide: Whether the figure takes the whole width of the page.
    """

    title: str
    body: str
    reading: str
    bad: str
    is_wide: bool = False


@dataclass(frozen=True)
class Section:
    """A section of the report.

    Attributes:
        title: Its heading.
        introduction: One or two sentences, plain text.
        figures: Its figures.
        notes: Sentences about what is missing, plain text.
    """

    title: str
    introduction: str
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()
