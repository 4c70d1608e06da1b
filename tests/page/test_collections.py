"""Collections made, chosen and deleted; models listed."""

import re

import httpx
from playwright.sync_api import expect

from tests.page.conftest import ITEMS, Seen


def test_a_collection_is_made_chosen_and_deleted(seen: Seen) -> None:
    page = seen.go("/?view=collections")
    entries = page.locator(".entry")
    expect(entries.filter(has_text="default").first).to_contain_text(f"{ITEMS} items")
    page.get_by_label("Name").fill("spring-sale")
    page.get_by_label("Weight of texts").fill("0.5")
    page.get_by_role("button", name="Create").click()

    entry = entries.filter(has=page.get_by_role("link", name="spring-sale"))
    expect(entry).to_contain_text("0 items")
    made = httpx.get(f"{seen.url}/v1/collections/spring-sale").raise_for_status().json()
    assert made["modality_weights"] == {"image": 1.0, "text": 0.5}
    entry.get_by_role("link", name="spring-sale").click()
    expect(page.locator(".summary")).to_have_text("This collection is empty. Fill it under Add.")
    expect(page.locator("#collection")).to_have_value("spring-sale")

    page.get_by_role("link", name="Collections").click()
    page.get_by_role("button", name="Delete spring-sale").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(entry).to_be_visible()
    page.get_by_role("button", name="Delete spring-sale").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete it").click()

    expect(page.locator("#status")).to_have_text("spring-sale is deleted.")
    expect(entry).to_have_count(0)
    expect(page.locator("#collection")).to_have_value("default")


def test_a_name_that_cannot_be_is_told(seen: Seen) -> None:
    page = seen.go("/?view=collections")
    page.get_by_label("Name").fill("no such/name")
    page.get_by_role("button", name="Create").click()

    expect(page.locator("#status.wrong")).to_be_visible()
    seen.faults.clear()  # the console tells of the refusal


def test_an_address_of_a_collection_that_is_gone_opens(seen: Seen) -> None:
    page = seen.go("/?c=gone&q=red+dress")

    expect(page.locator(".end").get_by_role("alert")).to_contain_text("gone")
    seen.faults.clear()


def test_models_are_listed_with_what_decides_between_them(seen: Seen) -> None:
    page = seen.go("/?view=models")

    entry = page.locator(".entry").filter(has=page.get_by_role("heading", name="default"))
    expect(entry).to_contain_text(re.compile("Dimensions.*256.*Precision.*int8.*Parity.*0.9.*Apache-2.0", re.S))
    expect(page.locator(".entry")).to_have_count(2)
