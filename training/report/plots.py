"""Draws plots as SVG text that takes its colours and its font from the page, so that it is readable in light and dark.

A plot uses place holders as colours. In the SVG they become CSS variables, which `training.report.page` defines.
"""

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from io import StringIO
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

INK, MUTED, GRID = "#010203", "#040506", "#070809"
SERIES = tuple(f"#0a0b{number:02x}" for number in range(8))
VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid"} | {
    colour: f"--series-{number}" for number, colour in enumerate(SERIES)
}
# Line styles differ too, for readers who see few colours.
MARKERS, LINES = ("o", "s", "^", "D", "v", "P", "X", "*"), ("-", "--", "-.", ":")
WIDTH_IN, HEIGHT_IN = 4.2, 2.7
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text, in the font of the page
    "text.parse_math": False,  # a dollar in the title of an item is a dollar
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
}
VIEW_BOX = re.compile(r'viewBox="([-0-9. ]*)"')
METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
GLOBAL_STYLE = re.compile(r"<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL)
FONT_FAMILY = re.compile(r"font-family: [^;\"]*;? ?")
PATH, LONG_NUMBER = re.compile(r' d="[^"]*"'), re.compile(r"(\.\d\d)\d+")
GROUP_ID = re.compile(r' id="[A-Za-z][A-Za-z.]*\d*[A-Za-z]*_\d+"')  # not those of markers and clips, which are used


@dataclass
class Plot:
    """A plot that is being drawn.

    Attributes:
        axes: The axes to draw on, of Matplotlib.
        svg: The finished plot as SVG text, after the block of `plot`.
    """

    axes: Axes
    svg: str = ""


@contextmanager
def plot(description: str, x: str, y: str, *, width: float = WIDTH_IN, height: float = HEIGHT_IN) -> Iterator[Plot]:
    """Opens a plot, which is drawn in the block and finished at its end.

    Args:
        description: What the plot shows, for readers who do not see it.
        x: Label of the horizontal axis, with the unit.
        y: Label of the vertical axis, with the unit.
        width: Width in inches. The page makes all plots as wide as their column, so a wider one has smaller letters.
        height: Height in inches.
    """
    # Equal plots are equal, byte by byte; the ids of different plots differ.
    with rc_context({**STYLE, "svg.hashsalt": description}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the font of the page draws the text
        canvas = Canvas(figsize=(width, height), layout="constrained")
        canvas.patch.set_visible(False)
        axes = canvas.add_subplot()
        axes.patch.set_visible(False)
        axes.set(xlabel=x, ylabel=y)
        drawn = Plot(axes)
        yield drawn
        file = StringIO()
        canvas.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        drawn.svg = _for_page(file.getvalue(), description)


def _for_page(svg: str, description: str) -> str:
    """Takes the element `svg` out of a file, and gives it the page's colours, font and width."""
    element = svg[svg.index("<svg") :]
    head = f'<svg viewBox="{VIEW_BOX.findall(element)[0]}" role="img" aria-label="{escape(description)}">'
    element = head + element[element.index(">") + 1 :]
    for unwanted in (METADATA, GLOBAL_STYLE, FONT_FAMILY, GROUP_ID):
        element = unwanted.sub("", element)
    element = PATH.sub(lambda path: LONG_NUMBER.sub(r"\1", path[0]).replace("\n", ""), element)
    for place_holder, variable in VARIABLES.items():
        element = element.replace(place_holder, f"var({variable})")
    return element.strip()


def draw_lines(
    axes: Axes, lines: Sequence[tuple[str, NDArray[np.number], NDArray[np.number]]], *, are_sparse: bool = False
) -> None:
    """Draws lines with a legend. They differ in colour and in dashes, for readers who see few colours.

    Args:
        axes: The axes to draw on.
        lines: Name, x and y of each line.
        are_sparse: Whether to mark every point.
    """
    for number, (name, x_S, y_S) in enumerate(lines):
        axes.plot(
            x_S,
            y_S,
            LINES[number // 2 % len(LINES)],
            color=SERIES[number % len(SERIES)],
            marker=MARKERS[number % len(MARKERS)] if are_sparse else "",
            label=name,
        )
    if len(lines) > 1:
        axes.legend()


def use_log_scale(axes: Axes, *, x: bool = False, y: bool = False) -> None:
    """Makes axes logarithmic, with plain numbers at their ticks, once everything is drawn.

    Args:
        axes: The axes of the plot.
        x: Whether to change the horizontal axis.
        y: Whether to change the vertical axis.
    """
    if x:
        axes.set_xscale("log")
    if y:
        axes.set_yscale("log")
    for axis in [axes.xaxis] * x + [axes.yaxis] * y:
        low, high = axis.get_view_interval()
        decades = np.log10(high / low) if 0 < low < high else 1.0
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades <= 2 else (1,)))
        axis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:,.10g}"))
        axis.set_minor_formatter(NullFormatter())
