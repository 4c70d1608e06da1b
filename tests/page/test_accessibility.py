"""Each view as axe-core, the keyboard and a narrow screen see it; its picture goes to `SIGHTLINE_SHOTS` for people."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.page.conftest import SHOTS, Open, Seen

VIEWS = {
    "browse": ("/", ".menu"),
    "search": ("/?q=red+dress&t=0.5:stripes&t=-0.5:polka+dots", ".menu"),
    "filtered": ('/?q=dress&filter={"category":{"$in":["Dress","Shirt"]},"price":{"$lte":120}}', ".chip.set"),
    "nothing": ('/?q=dress&filter={"price":{"$lte":-1}}', ".menu"),
    "collections": ("/?view=collections", ".panel"),
    "add": ("/?view=add", ".wizard"),
    "quality": ("/?view=quality", ".plot"),
    "generations": ("/?view=generations", ".fields"),
    "models": ("/?view=models", ".entry"),
}
DEVICES: Mapping[str, Mapping[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 780}, "has_touch": True, "is_mobile": True},
}


def assert_accessible(page: Page, name: str) -> None:
    """No violation that axe-core calls serious or critical."""
    if SHOTS:
        page.wait_for_load_state("networkidle")
        page.screenshot(path=Path(SHOTS) / f"{name}.png", animations="disabled")
    violations = Axe().run(page).response["violations"]
    serious = [violation for violation in violations if violation["impact"] in ("serious", "critical")]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious] == []


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_serious(open_page: Open, view: str, device: str) -> None:
    address, there = VIEWS[view]
    page = open_page(**DEVICES[device]).go(address)
    expect(page.locator(there).first).to_be_visible()

    assert_accessible(page, f"{view}-{device}")
    assert page.viewport_size is not None
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


@pytest.mark.parametrize("device", DEVICES)
def test_menus_and_dialogs_have_nothing_serious(open_page: Open, device: str, shop: Path) -> None:
    seen = open_page(**DEVICES[device])
    page = seen.go("/?q=red+dress&t=0.5:stripes")
    page.get_by_role("group", name="Filters").get_by_text("Brand").click()
    assert_accessible(page, f"menu-{device}")
    page.keyboard.press("Escape")
    page.locator(".gallery .tile").first.click()
    page.get_by_role("button", name="Why it matched").click()
    expect(page.get_by_role("dialog").locator("img[src^='data:image/png']")).to_be_visible()
    assert_accessible(page, f"detail-{device}")
    seen.go("/?view=collections").get_by_role("button", name="Delete default").click()
    assert_accessible(page, f"question-{device}")
    seen.go("/?view=add").get_by_label("Catalogue file").set_input_files(shop / "catalog.csv")
    expect(page.get_by_text("The first 3 rows")).to_be_visible()
    assert_accessible(page, f"columns-{device}")


def test_every_control_shows_that_it_has_the_focus(seen: Seen) -> None:
    page = seen.go("/?q=red+dress&t=0.5:stripes")
    expect(page.locator(".menu").first).to_be_visible()
    seen_controls = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        name, shown = page.evaluate(
            """() => {
                const marked = (element) => {
                    const {outlineStyle, boxShadow} = getComputedStyle(element);
                    return outlineStyle !== "none" || boxShadow.includes("0px 3px");
                };
                const {activeElement: at} = document;
                return [at.outerHTML.slice(0, 80), marked(at) || marked(at.parentElement)];
            }"""
        )
        seen_controls.add(name)
        assert shown, name
    assert len(seen_controls) > 30


def test_motion_is_left_out_where_it_is_not_wanted(open_page: Open) -> None:
    page = open_page(reduced_motion="reduce").go("/?q=red+dress")
    expect(page.locator(".gallery img.there").first).to_be_visible()

    moving = "[...document.querySelectorAll('*')].filter((e) => parseFloat(getComputedStyle(e).transitionDuration) > 0)"
    assert page.evaluate(f"{moving}.length") == 0


def test_nothing_moves_while_pictures_come(open_page: Open) -> None:
    """Cumulative layout shift of a search, as browsers count it; up to 0.1 is called good."""
    page = open_page().go()
    expect(page.locator(".menu").first).to_be_visible()
    page.evaluate(
        """() => {
            window.shift = 0;
            const add = (list) => list.getEntries().forEach(({value}) => { window.shift += value; });
            new PerformanceObserver(add).observe({type: "layout-shift"});
        }"""
    )
    page.get_by_label("Search by text").fill("red dress")
    page.keyboard.press("Enter")
    expect(page.locator(".summary")).to_contain_text("“red dress”")
    page.wait_for_load_state("networkidle")

    assert page.evaluate("window.shift") < 0.1
