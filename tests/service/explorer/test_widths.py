"""How the explorer fits into windows of any width."""

import pytest
from playwright.sync_api import expect

from tests.service.explorer.conftest import Visit

VIEWS = ("list", "codes", "map", "compare", "model")
HISTORY = "h=100&h=101"
WIDTHS = (360, 480, 640, 800, 1024, 1280, 1400, 1440, 1536, 1760, 1920, 2560)
LEAST_TITLE_PX = 180  # on a telephone; the words of a title are seldom longer than 15 letters, or 130 px
LONG_TITLE = "The Extraordinary Mountaineering Adventures of Somebody (1994)"
# The words of titles that do not stand on one line.
BROKEN_WORDS = """() => [...document.querySelectorAll("#content :is(.item-title, .bar-label, h2)")].flatMap((node) => {
    const texts = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
    const broken = [];
    while (texts.nextNode()) {
        for (const word of texts.currentNode.data.matchAll(/[a-z0-9]+/gi)) {
            const range = document.createRange();
            range.setStart(texts.currentNode, word.index);
            range.setEnd(texts.currentNode, word.index + word[0].length);
            const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
            if (lines.size > 1) broken.push(word[0]);
        }
    }
    return broken;
})"""


@pytest.mark.parametrize("width", [360, 2560])
def test_no_view_is_wider_than_the_window(visit: Visit, width: int) -> None:
    visit.page.set_viewport_size({"width": width, "height": 800})
    for view in VIEWS:
        visit.open(f"view={view}&{HISTORY}")
        visit.page.wait_for_load_state("networkidle")
        root = "document.documentElement"
        assert visit.page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth"), view


@pytest.mark.parametrize("has_reasons", [False, True], ids=["list alone", "with reasons"])
def test_titles_have_room_for_their_words_in_windows_of_any_width(visit: Visit, has_reasons: bool) -> None:
    visit.open(f"view=list&{HISTORY}")
    visit.titles()
    if has_reasons:
        visit.page.locator("#list .open").first.click()
        expect(visit.page.locator(".levels")).to_be_visible()
        expect(visit.page.locator(".why .similar li").first).to_be_visible()
    visit.page.evaluate(
        "title => document.querySelectorAll('.item-title').forEach(node => { node.textContent = title })", LONG_TITLE
    )
    for width in WIDTHS:
        visit.page.set_viewport_size({"width": width, "height": 900})
        buttons = visit.page.locator("#list .open").all()
        assert min((button.bounding_box() or {"width": 0})["width"] for button in buttons) >= LEAST_TITLE_PX, width
        assert visit.page.evaluate(BROKEN_WORDS) == [], width
