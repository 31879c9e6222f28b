"""The reasons for an item of the list."""

from playwright.sync_api import Route, expect

from tests.service.explorer.conftest import Visit

HISTORY = "h=100&h=101"


def test_an_item_says_why_it_is_in_the_list(visit: Visit) -> None:
    visit.open(f"view=list&{HISTORY}")
    first = visit.page.locator("#list .open").first
    first.press("Enter")
    why = visit.page.get_by_role("region", name="Why this item")
    expect(why.get_by_role("heading", level=2)).to_be_focused()
    expect(why).to_contain_text("What in the history speaks for it")
    expect(why.locator(".bars").first.locator("li")).to_have_count(2)
    expect(why.locator(".levels li")).to_have_count(visit.page.locator("#list .row").first.locator(".chip").count())
    expect(why.locator(".levels .log").first).to_contain_text("ln −")
    expect(why.locator(".similar li").first).to_be_visible()
    visit.page.keyboard.press("Escape")
    expect(why).to_be_hidden()
    expect(visit.page.locator("#list .open").first).to_be_focused()


def test_a_code_without_a_meaning_says_what_it_is_there_for(visit: Visit) -> None:
    def without_meanings(route: Route) -> None:
        reply = route.fetch().json()
        for item in reply["items"]:
            codes = [{"code": 19, "log_prob": chance, "meaning": {}} for chance in (-1.5, -0.5, 0.0, -0.7)]
            item["explanation"] = {"history": [], "levels": codes}
        route.fulfill(json=reply)

    visit.page.route("**/recommend", without_meanings)
    visit.open(f"view=list&{HISTORY}")
    visit.page.locator("#list .open").first.click()
    nothing = "19 one item, or items with nothing in common"
    likely, last = "19 no other code is likely here", "19 tells apart items with the same codes before it"
    expect(visit.page.locator(".levels .bar-label")).to_have_text([nothing, nothing, likely, last])
