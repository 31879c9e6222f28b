"""A real Chromium that visits a real service with two models."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, Route, expect, sync_playwright

from benchmarks.support.chromium import CHROMIUM
from benchmarks.support.running import running_service
from rqrec.models.bundle.bundle import Bundle
from rqrec.models.bundle.store import point_current
from tests.service.conftest import write_variant

PREFIX = "/shop/rec"
TOKEN = "a-secret-token"
WITHIN_MS = 20_000
expect.set_options(timeout=WITHIN_MS)


@dataclass
class Visit:
    """A visitor's page, with everything that went wrong in it.

    Attributes:
        page: The page.
        url: The explorer's address.
        faults: Errors of scripts, errors on the console, and requests to other hosts. A test empties it where it
            expects some.
    """

    page: Page
    url: str
    faults: list[str] = field(default_factory=list)

    def open(self, fragment: str) -> None:
        """Opens the explorer anew, and waits for its list."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.url}#{fragment}")
        expect(self.page.locator("#model-line")).not_to_be_empty()

    def titles(self) -> list[str]:
        """Returns the titles of the list, once no answer is awaited."""
        self.page.wait_for_selector("#list[aria-busy=false] .row")
        return self.page.locator("#list .item-title").all_inner_texts()

    def history(self) -> list[str]:
        """Returns the titles of the history."""
        return self.page.locator("#history .item-title").all_inner_texts()

    def say(self) -> Locator:
        """Returns what the page says to screen readers."""
        return self.page.locator("#status")


def refuse(route: Route, status: int, type_: str, headers: Mapping[str, str] | None = None) -> None:
    """Answers a request of the page with a problem that may be tried again."""
    problem = {"type": type_, "title": f"A problem: {type_}", "detail": "of a test", "retryable": True}
    route.fulfill(status=status, headers={**(headers or {}), "content-type": "application/problem+json"}, json=problem)


@pytest.fixture(scope="module")
def two_models(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service behind a prefix, with the active model `films` and the bundle `others` beside it."""
    folder = tmp_path_factory.mktemp("explored")
    for version in ("films", "others"):
        write_variant(folder, bundle, version)
    point_current(folder, "films")
    settings = {"RQREC_BUNDLE": str(folder), "RQREC_ROOT_PATH": PREFIX, "RQREC_ADMIN_TOKEN": TOKEN}
    with running_service(settings) as (url, _process):
        yield f"{url}{PREFIX}/"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium. A module has it for itself: while it runs, asyncio.run does not work in this thread."""
    if CHROMIUM is None:
        if "CI" in os.environ:
            pytest.fail("needs chromium: apt-get install chromium")
        pytest.skip("needs chromium")
    with sync_playwright() as playwright:
        options = [
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, two_models: str) -> Iterator[Visit]:
    """A visitor in a fresh window, at whose end nothing may have gone wrong."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        page.set_default_timeout(WITHIN_MS)
        visit = Visit(page, two_models)

        def note_message(message: ConsoleMessage) -> None:
            if message.type in {"error", "warning"}:
                visit.faults.append(message.text)

        def note_request(request: Request) -> None:
            if not request.url.startswith(two_models):
                visit.faults.append(request.url)

        page.on("console", note_message)
        page.on("pageerror", lambda error: visit.faults.append(str(error)))
        page.on("request", note_request)
        yield visit
        assert visit.faults == []
