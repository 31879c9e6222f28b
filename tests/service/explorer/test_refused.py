"""The explorer where the service refuses requests: over the rate limit, or files of the page itself."""

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Route, expect

from benchmarks.support.running import running_service
from rqrec.models.bundle.bundle import Bundle
from tests.service.conftest import write_variant
from tests.service.explorer.conftest import Visit, refuse

HISTORY = "&".join(f"h={item_id}" for item_id in range(100, 108))


def test_under_a_small_rate_limit_the_page_waits_and_goes_on(visit: Visit, bundle: Bundle, tmp_path: Path) -> None:
    write_variant(tmp_path, bundle, "films")
    settings = {"RQREC_BUNDLE": str(tmp_path / "films"), "RQREC_RATE_LIMIT": "3/second"}
    with running_service(settings) as (url, _process):
        visit.url = f"{url}/"
        visit.open(f"view=list&{HISTORY}")
        assert len(visit.titles()) == 10
        expect(visit.page.locator("#history .item-title").last).to_contain_text("Animation")
        assert httpx.get(f"{url}/metrics").text.count('rqrec_requests_shed_total{reason="rate"} 0.0') == 0
    assert all("429" in fault or url in fault for fault in visit.faults)
    visit.faults.clear()


def test_a_long_wait_is_told_and_not_waited(visit: Visit) -> None:
    visit.page.route("**/recommend", lambda route: refuse(route, 429, "rate-limited", {"retry-after": "5000"}))
    visit.page.goto(f"{visit.url}#view=list")
    expect(visit.page.get_by_role("alert")).to_contain_text("Try again in 84 min")
    visit.faults.clear()


@pytest.mark.parametrize(
    ("status", "words"),
    [(429, "refused 1 file of this page with status 429 (too many requests)"), (503, "with status 503."), (0, "broke")],
    ids=["overload", "a proxy", "no answer"],
)
def test_a_page_without_one_of_its_files_says_why(visit: Visit, status: int, words: str) -> None:
    def answer(route: Route) -> None:
        if status:
            refuse(route, status, "overloaded")
        else:
            route.abort()

    visit.page.route("**/explorer/map/camera.js", answer)
    visit.page.goto(visit.url)
    expect(visit.page.get_by_role("alert")).to_contain_text(words)
    visit.page.unroute("**/explorer/map/camera.js")
    visit.page.get_by_role("button", name="Load the page again").click()
    expect(visit.page.locator("#model-line")).not_to_be_empty()
    visit.faults.clear()
