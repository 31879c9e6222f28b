"""What a visitor does in the explorer, in a real browser against a real service."""

import json
import re
from collections.abc import Callable
from itertools import combinations

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Request, Route, expect

from tests.service.explorer.conftest import TOKEN, Visit, refuse

VIEWS = ("list", "codes", "map", "compare", "model")
HISTORY = "h=100&h=101"


def test_a_history_built_with_the_keyboard_changes_the_list_at_each_step(visit: Visit) -> None:
    visit.open("view=list")
    page, popular = visit.page, visit.titles()
    expect(page.get_by_role("heading", name="Pick something to start")).to_be_visible()
    page.get_by_label("Find an item").fill("Horror 11")
    expect(page.get_by_role("option").first).to_contain_text("Horror 11")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.locator("#history .item-title")).to_have_count(1)
    expect(page.get_by_role("heading", name="Next for this history")).to_be_visible()
    expect(visit.say()).to_contain_text("First: ")
    expect(page.locator("#times")).to_contain_text("ms in the service")
    after_one = visit.titles()
    assert after_one != popular
    page.get_by_role("button", name="to the history").first.press("Enter")
    expect(page.locator("#history .item-title")).to_have_count(2)
    visit.titles()
    expect(page.get_by_role("button", name="to the history").first).to_be_focused()
    assert visit.history()[1] == after_one[0]
    page.get_by_role("button", name=f"Move {visit.history()[1]} up").press("Enter")
    assert visit.history()[0] == after_one[0]
    page.go_back()
    assert visit.history()[1] == after_one[0]
    page.get_by_role("button", name=f"Remove {after_one[0]}").press("Enter")
    assert visit.titles() == after_one
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Remove Horror")


def test_a_link_shows_the_same_to_another_visitor(visit: Visit, browser: Browser) -> None:
    condition = json.dumps({"genres": {"any_of": ["War"]}})
    visit.open(f"view=list&{HISTORY}&filter={condition}&k=5")
    titles = visit.titles()
    assert len(titles) == 5
    assert all(title.startswith("War") for title in titles)
    assert len(visit.history()) == 2
    visit.page.get_by_role("button", name="Remove the filter genres").click()
    visit.page.wait_for_url(lambda url: "filter" not in url)
    assert not all(title.startswith("War") for title in visit.titles())


def test_items_are_dragged_to_another_place(visit: Visit) -> None:
    visit.open(f"view=list&{HISTORY}&h=102")
    rows = visit.page.locator(".history-item")
    expect(rows.nth(2)).to_contain_text("Animation 102")
    rows.nth(2).drag_to(rows.nth(0))
    expect(rows.nth(0)).to_contain_text("Animation 102")


def test_filters_are_made_from_the_catalogues_attributes(visit: Visit) -> None:
    visit.open(f"view=list&{HISTORY}")
    visit.page.get_by_label("genres", exact=True).select_option(label="War (16)")
    visit.page.wait_for_url("**filter**")
    assert all(title.startswith("War") for title in visit.titles())
    visit.page.get_by_label("year, from").fill("1990")
    visit.page.get_by_label("year, from").press("Enter")
    expect(visit.page.get_by_role("list", name="Filters")).to_contain_text("year: from 1990")


def test_a_list_is_kept_varied(visit: Visit) -> None:
    visit.open(f"view=list&{HISTORY}")
    unlimited = visit.titles()
    visit.page.get_by_label("genres: at most").select_option(label="1 of each")
    visit.page.wait_for_url("**caps**")
    genres = [title.split()[0] for title in visit.titles()]
    assert len(genres) == len(set(genres)) < len(unlimited)
    expect(visit.page.locator("#content")).to_contain_text("no other fits under the limit for each value")
    visit.page.get_by_label("genres: at most").select_option(label="no limit")
    visit.page.get_by_label("Variety").fill("1")
    visit.page.wait_for_url("**diversity=1**")
    varied = visit.titles()
    assert varied[0] == unlimited[0]
    assert varied != unlimited


def test_the_tree_of_codes_is_walked_down_to_the_items(visit: Visit) -> None:
    visit.open("view=codes")
    page = visit.page
    expect(page.get_by_role("heading", name="The whole catalogue")).to_be_visible()
    card = page.locator(".card").first
    code, size = card.locator(".chip").inner_text(), card.locator(".card-count").inner_text()
    card.press("Enter")
    expect(page.get_by_role("heading", name=f"Code {code}")).to_be_focused()
    expect(page.locator(".node-head")).to_contain_text(size)
    expect(page.locator(".node-meaning")).to_contain_text("genres")
    expect(page.locator(".node-items li").first).to_be_visible()
    page.locator(".node-items").get_by_role("button", name="to the history").first.click()
    assert len(visit.history()) == 1
    page.get_by_role("link", name="All items").click()
    expect(page.get_by_role("heading", name="The whole catalogue")).to_be_visible()


def test_the_map_is_walked_with_the_keyboard(visit: Visit) -> None:
    visit.open(f"view=map&{HISTORY}")
    page = visit.page
    expect(page.locator(".map-view > .lead")).to_contain_text("64 of 64 items")
    expect(page.get_by_role("list", name="Legend").get_by_role("button")).to_have_count(4)
    page.get_by_label("Map of the catalogue").focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".map-name")).to_be_visible()
    expect(visit.say()).to_contain_text("Enter adds it")
    named = page.locator(".map-name .item-title").inner_text()
    page.keyboard.press("Enter")
    assert named in visit.history()
    page.get_by_role("button", name="Show the beams").click()
    page.get_by_text("level 1 (").click()
    expect(visit.say()).to_contain_text("survived level 1")
    page.get_by_label("Colour").select_option("code")
    page.wait_for_url("**color=code**")


def test_the_map_has_a_list_that_came_while_the_points_of_the_sample_were_read(visit: Visit) -> None:
    held = dict[str, Route]()
    visit.page.route("**/recommend", lambda route: held.update(list=route))
    visit.page.route("**/map?limit=5000**", lambda route: held.update(sample=route))
    with visit.page.expect_request("**/map?**"):
        visit.page.goto(f"{visit.url}#view=map&{HISTORY}")
    held["list"].continue_()
    expect(visit.page.locator("#model-line")).not_to_be_empty()
    held["sample"].continue_(url=held["sample"].request.url.replace("limit=5000", "limit=1"))
    expect(visit.page.locator(".map-view > .lead")).to_have_text(re.compile("^1[23] of 64 items"))


def test_a_search_waits_for_its_index_that_is_made_at_its_first_request(visit: Visit) -> None:
    calls = list[Route]()

    def answer(route: Route) -> None:
        calls.append(route)
        if len(calls) > 2:
            route.continue_()
        else:
            refuse(route, 504, "deadline")

    visit.open("view=list")
    visit.page.route("**/search", answer)
    visit.page.get_by_label("Find an item").fill("Horror 11")
    expect(visit.page.get_by_role("option").first).to_contain_text("Horror 11")
    assert [json.loads(route.request.post_data or "")["query"] for route in calls] == ["a", "Horror 11", "Horror 11"]
    visit.faults.clear()


def test_no_mark_of_the_map_hides_another(visit: Visit) -> None:
    visit.open("view=map")
    marks = visit.page.evaluate(
        """async () => {
            const { placeMarks } = await import("./explorer/map/marks.js");
            const ids = Array.from({ length: 15 }, (_, at) => String(at));
            const index = new Map(ids.map((id, at) => [id, at]));
            const points = { xs: ids.map((_, at) => at % 2), ys: ids.map(() => 0), index };
            const camera = { scale: 1, toPixel: (x, y) => [x, y] };
            return placeMarks({ camera, points, history: ids.slice(0, 5), list: ids.slice(4) });
        }"""
    )
    assert [mark["number"] for mark in marks] == [*range(1, 6), *range(1, 12)]
    places = [complex(mark["x"], mark["y"]) for mark in marks]
    assert min(abs(one - other) for one, other in combinations(places, 2)) > 2 * marks[0]["reach"]
    assert max(map(abs, places)) < 80  # pixels from their points


def test_the_accuracy_of_the_model_stands_beside_that_of_simple_lists(visit: Visit) -> None:
    visit.open("view=model")
    table = visit.page.get_by_role("table")
    figures = httpx.get(f"{visit.url}models/films/evaluation").json()["metrics"]
    for row, name in (("This model", "rqrec"), ("What is chosen most", "popularity")):
        cells = table.get_by_role("row", name=row).first.get_by_role("cell").all_inner_texts()
        assert cells == [f"{100 * figures[name]['recall@10']:.1f} %", f"{figures[name]['ndcg@10']:.3f}"]
    with visit.page.expect_navigation():
        visit.page.get_by_role("link", name="Report of its training").click()
    assert visit.page.url.endswith("models/films/report")


def test_the_loaded_models_are_compared_whatever_their_roles(visit: Visit, two_models: str) -> None:
    def activate(version: str, **role: object) -> None:
        headers = {"authorization": f"Bearer {TOKEN}"}
        httpx.post(f"{two_models}models/{version}/activate", headers=headers, json=role, timeout=30).raise_for_status()

    visit.open(f"view=compare&{HISTORY}")
    expect(visit.page.get_by_text("One model is loaded")).to_be_visible()
    activate("others", part="canary", percent=1)
    try:
        visit.page.get_by_role("button", name="Look again").click()
        expect(visit.page.get_by_role("region", name="List of films")).to_contain_text("The active model")
        expect(visit.page.get_by_role("region", name="List of others")).to_contain_text("The canary model")
        expect(visit.page.locator("#compared > p")).to_contain_text("10 of 10 items are in both lists")
        activate("others", part="shadow")
        visit.open(f"view=compare&{HISTORY}")
        expect(visit.page.get_by_role("region", name="List of others")).to_contain_text("The shadow model")
    finally:
        activate("films")


def test_a_slow_answer_is_cancelled_by_the_next_click(visit: Visit) -> None:
    visit.open(f"view=list&{HISTORY}")
    visit.titles()
    held, cancelled = list[Route](), list[str]()

    def note(request: Request) -> None:
        cancelled.append(request.url.rpartition("/")[2])

    visit.page.on("requestfailed", note)
    visit.page.route("**/recommend", lambda route: held.append(route) if not held else route.continue_())
    add = visit.page.get_by_role("button", name="to the history")
    add.nth(0).click()
    visit.page.wait_for_selector("#list[aria-busy=true]")
    add.nth(1).click()
    visit.titles()
    assert cancelled == ["recommend"]
    assert len(visit.history()) == 4


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda route: route.abort(), "Check that the service runs"),
        (lambda route: refuse(route, 429, "overloaded", {"retry-after": "7"}), "Try again in 7 s"),
        (lambda route: route.fulfill(status=502, body="<html>proxy"), "Status 502"),
    ],
    ids=["no answer", "overload", "a proxy's page"],
)
def test_a_problem_is_told_in_words_and_tried_again(visit: Visit, answer: Callable[[Route], None], words: str) -> None:
    visit.open("view=list")
    visit.titles()
    visit.page.route("**/recommend", answer)
    visit.page.get_by_role("button", name="to the history").first.click()
    expect(visit.page.get_by_role("alert")).to_contain_text(words)
    visit.page.unroute("**/recommend")
    visit.page.get_by_role("button", name="Try again").click()
    assert len(visit.titles()) == 10
    assert all("Failed to load resource" in fault for fault in visit.faults)
    visit.faults.clear()


def test_without_the_other_routes_the_list_still_works(visit: Visit) -> None:
    for path in ("search", "attributes", "map**", "semantic-ids**"):
        visit.page.route(f"{visit.url}{path}", lambda route: route.fulfill(status=503, json={}))
    visit.open(f"view=list&{HISTORY}")
    assert len(visit.titles()) == 10
    visit.page.get_by_role("link", name="Codes").click()
    expect(visit.page.get_by_role("alert")).to_contain_text("Status 503")
    visit.faults.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_passes_the_checks_of_axe(visit: Visit, scheme: str) -> None:
    visit.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    for view in VIEWS:
        visit.open(f"view={view}&{HISTORY}&prefix=")
        if view == "list":
            visit.page.locator("#list .open").first.click()
            expect(visit.page.locator(".levels")).to_be_visible()
        visit.page.wait_for_load_state("networkidle")
        result = Axe().run(visit.page)
        assert result.violations_count == 0, f"{view}: {result.generate_report()}"
