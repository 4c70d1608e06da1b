"""Another model: filled, compared side by side, activated, rolled back, dropped."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.page.conftest import Seen, fill


@pytest.fixture
def collection(url: str, shop: Path) -> Iterator[str]:
    """The sample in a collection of the test's own, as the default one is searched by other tests."""
    httpx.put(f"{url}/v1/collections/season", json={}).raise_for_status()
    fill(url, shop, "season")
    yield "season"
    httpx.delete(f"{url}/v1/collections/season").raise_for_status()


def test_a_model_is_changed_after_both_were_compared(seen: Seen, collection: str) -> None:
    page = seen.go(f"/?view=generations&c={collection}")
    expect(page.get_by_text("There is one generation that answers.")).to_be_visible()
    page.get_by_label("Model").select_option("coarse")
    page.get_by_role("button", name="Fill a generation").click()
    expect(page.locator(".job .badge")).to_have_text("succeeded")

    query = page.get_by_label("What both look for")
    query.fill("red dress")
    query.press("Enter")

    sides = page.locator(".side")
    expect(sides).to_have_count(2)
    expect(sides.first.get_by_role("listitem")).to_have_count(12)
    expect(sides.nth(1).get_by_role("heading")).to_have_text("2: coarse")
    expect(page.locator(".panel .summary")).to_contain_text("of 12 are found by both")
    expect(page.get_by_role("row", name="Recall@10").get_by_role("cell")).to_have_count(2)
    assert "q=red+dress" in page.url

    page.get_by_role("button", name="Activate generation 2").click()
    row = page.get_by_role("row", name="2 coarse")
    expect(row.locator(".badge")).to_have_text("active")
    assert httpx.get(f"{seen.url}/v1/collections/{collection}").json()["generation"] == 2
    page.get_by_role("button", name="Roll back to generation 1").click()
    expect(row.locator(".badge")).not_to_have_text("active")
    assert httpx.get(f"{seen.url}/v1/collections/{collection}").json()["generation"] == 1
    page.get_by_role("button", name="Drop generation 2").click()
    page.get_by_role("dialog").get_by_role("button", name="Drop it").click()
    expect(row).to_have_count(0)


def test_a_comparison_is_linked_to(seen: Seen, collection: str) -> None:
    """Its generations and its query stand in the address; a generation that is gone is not chosen."""
    page = seen.go(f"/?view=generations&c={collection}&q=red+dress&left=1&right=9")

    expect(page.get_by_text("There is one generation that answers.")).to_be_visible()
