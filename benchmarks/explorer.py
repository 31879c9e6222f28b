"""Measures the explorer with a large catalogue, in a real Chromium: until a view is usable, what it loads and takes.

    python -m benchmarks.explorer --bundle artifacts/ml-100k/bundles

The catalogue is `benchmarks.support.large_bundle`'s: copies of the bundle's items. Each view is opened twice, each time
in a new page. The first time the service makes the indexes that the view needs. Needs chromium.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import quote, urlsplit

from playwright.sync_api import Browser, Page, Response, sync_playwright
from rich.console import Console
from rich.table import Table

from benchmarks.support.chromium import CHROMIUM
from benchmarks.support.large_bundle import bundle_of, enlarged
from benchmarks.support.machine import description
from benchmarks.support.running import running_service
from rqrec.models.bundle.bundle import read_bundle
from rqrec.models.bundle.tables import ITEM_ID

ITEMS = 1_000_000
READY_WITHIN_S, WITHIN_MS = 600, 120_000
HISTORY = 5  # items
QUERY = "star w"
DRAG_STEPS = 120
# What a visitor waits for in each view.
USABLE = {
    "list": "#list[aria-busy=false] .row",
    "similar": ".why .similar .small-row",
    "why": ".why .levels li",
    "codes": "#node[aria-busy=false] .card",
    "map": "#map-canvas[aria-busy=false]",
    "compare": "#compared[aria-busy=false]",
    "model": ".model-view [aria-busy=false]",
    "filters": "#filters select option:nth-child(2)",
    "search": "#search-results .search-result",
}
VIEWS = ("codes", "map", "compare", "model")  # and `list`, where the other parts are
# What the visitor does once the list is there; the time counts from then.
CLICKED: Mapping[str, Callable[[Page], None]] = {
    "why": lambda page: page.locator("#list .open").first.click(),
    "similar": lambda page: page.locator("#list .open").first.click(),
    "search": lambda page: page.get_by_label("Find an item").fill(QUERY),
}
FRAMES = """() => {
    window.frames_ms = [];
    let before = performance.now();
    const note = (now) => { window.frames_ms.push(now - before); before = now; requestAnimationFrame(note); };
    requestAnimationFrame(note);
}"""


@dataclass
class Visit:
    """What one opening of a view took.

    Attributes:
        usable_ms: Milliseconds until the view was usable.
        heap_mib: What the page's scripts hold afterwards, in MiB.
        answers: Bytes and milliseconds of each answer, by path; of several answers, their sums.
    """

    usable_ms: float
    heap_mib: float
    answers: dict[str, tuple[int, float]] = field(default_factory=dict)


def visit(browser: Browser, explorer: str, view: str) -> Visit:
    """Opens a view in a new page, and waits until it is usable.

    Args:
        browser: The browser.
        explorer: The explorer's address, with a history.
        view: A key of USABLE.
    """
    with _page(browser) as page:
        replies = list[Response]()
        page.on("response", lambda reply: replies.append(reply))  # noqa: PLW0108 - playwright marks the function
        begin = time.perf_counter()
        page.goto(f"{explorer}&view={view if view in VIEWS else 'list'}")
        if view in CLICKED:
            page.wait_for_selector(USABLE["list"])
            page.wait_for_load_state("networkidle")
            begin = time.perf_counter()
            CLICKED[view](page)
        page.wait_for_selector(USABLE[view], state="attached")
        usable_ms = 1000 * (time.perf_counter() - begin)
        page.wait_for_load_state("networkidle")
        answers = dict[str, tuple[int, float]]()
        for reply in replies:
            timing, path = reply.request.timing, urlsplit(reply.url).path
            size, ms = answers.get(path, (0, 0.0))
            answers[path] = (
                size + reply.request.sizes()["responseBodySize"],
                ms + max(timing["responseEnd"] - timing["requestStart"], 0),
            )
        heap = page.context.new_cdp_session(page).send("Runtime.getHeapUsage")["usedSize"]
        return Visit(usable_ms, heap / (1 << 20), answers)


def frames_of_a_drag(browser: Browser, explorer: str) -> list[float]:
    """Returns the milliseconds between the frames while the map, zoomed a little, is dragged about."""
    with _page(browser) as page:
        page.goto(f"{explorer}&view=map")
        page.wait_for_selector(USABLE["map"])
        page.wait_for_load_state("networkidle")
        canvas = page.locator("#map-canvas")
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.wheel(0, -300)
        page.mouse.down()
        page.evaluate(FRAMES)
        for step in range(DRAG_STEPS):
            page.mouse.move(x + 150 * ((step % 40) / 40), y + 100 * ((step % 30) / 30))
        page.mouse.up()
        frames: list[float] = page.evaluate("window.frames_ms")
        return frames[1:]


@contextmanager
def _page(browser: Browser) -> Iterator[Page]:
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        page.set_default_timeout(WITHIN_MS)
        yield page


def main() -> None:
    """Measures, and prints the tables and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, default=Path("artifacts/ml-100k/bundles"), help="of the default recipe")
    parser.add_argument(
        "--items", type=int, default=ITEMS, help=f"size of the catalogue (default {ITEMS:,}); 0: as it is"
    )
    arguments = parser.parse_args()
    if CHROMIUM is None:
        parser.error("needs chromium: apt-get install chromium")
    bundle = bundle_of(arguments.bundle, parser, enlarges=bool(arguments.items))
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        path = enlarged(bundle, Path(name), arguments.items) if arguments.items else bundle.path
        item_ids = read_bundle(path).items[ITEM_ID].head(HISTORY).to_list()
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        with running_service({"RQREC_BUNDLE": str(path), "RQREC_DATA_DIR": name}, ready_within_s=READY_WITHIN_S) as (
            url,
            _,
        ):
            explorer = f"{url}/#{'&'.join(f'h={quote(item_id)}' for item_id in item_ids)}"
            visits = {view: [visit(browser, explorer, view) for _ in range(2)] for view in USABLE}
            frames = frames_of_a_drag(browser, explorer)
        browser.close()
    _print(visits, frames)


def _print(visits: dict[str, list[Visit]], frames: list[float]) -> None:
    views = Table(title=description(), title_justify="left")
    for heading in ("view", "usable after ms, first", "again", "heap, MiB", "answers, kB"):
        views.add_column(heading, justify="left" if heading == "view" else "right")
    routes = dict[str, tuple[int, float, float]]()
    for view, (first, again) in visits.items():
        data = {path: found for path, found in again.answers.items() if not path.startswith("/explorer/")}
        size = sum(size for size, _ in data.values())
        times = (f"{first.usable_ms:,.0f}", f"{again.usable_ms:,.0f}")
        views.add_row(view, *times, f"{again.heap_mib:.1f}", f"{size / 1000:,.0f}")
        for path, (size, ms) in data.items():
            routes.setdefault(path, (size, first.answers.get(path, (0, 0.0))[1], ms))
    answers = Table()
    for heading in ("answer", "kB", "ms, first", "again"):
        answers.add_column(heading, justify="left" if heading == "answer" else "right")
    for path, (size, first_ms, ms) in sorted(routes.items()):
        answers.add_row(path, f"{size / 1000:,.1f}", f"{first_ms:,.0f}", f"{ms:,.0f}")
    for table in (views, answers):
        Console(width=120).print(table)
    slowest = quantiles(frames, n=20)[-1]
    print(f"frames of a dragged map: median {median(frames):.1f} ms, 95th percentile {slowest:.1f} ms")
    print(json.dumps({"explorer_usable_ms": {view: round(again.usable_ms) for view, (_, again) in visits.items()}}))


if __name__ == "__main__":
    main()
