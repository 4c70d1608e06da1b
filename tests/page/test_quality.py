"""The quality view: plots and lists, from a real report."""

import re

from playwright.sync_api import expect

from tests.page.conftest import ITEMS, Seen


def test_coverage_alignment_gap_and_duplicates_are_shown(seen: Seen) -> None:
    page = seen.go("/?view=quality")

    panels = page.locator(".panel")
    expect(panels.filter(has_text="Coverage")).to_contain_text(f"With both{ITEMS} (100%)")
    expect(page.get_by_role("img", name=re.compile(r"Histogram\. The cosine of 60 pairs"))).to_be_visible()
    expect(
        page.get_by_role("img", name=re.compile(r"Histogram\. The centroids of pictures and texts are 0\.\d+ apart"))
    ).to_be_visible()
    assert page.locator(".plot rect.other").count() > 1
    expect(panels.filter(has_text="Duplicates")).to_contain_text("nearly")


def test_the_worst_pairs_lead_to_what_is_like_them(seen: Seen) -> None:
    page = seen.go("/?view=quality")
    pairs = page.locator(".pairs li")
    expect(pairs).to_have_count(12)
    page.get_by_role("button", name="Show more").first.click()
    expect(pairs).to_have_count(24)
    expect(pairs.first.locator("img")).to_be_visible()
    cosines = [float(text.split()[0]) for text in page.locator(".pairs .score").all_text_contents()]
    assert cosines == sorted(cosines)

    pairs.first.get_by_role("link").click()

    expect(page.locator(".summary")).to_contain_text("more like sample-")
    page.go_back()
    expect(page.get_by_role("heading", name="Quality of default")).to_be_visible()


def test_an_empty_collection_has_a_quality_view(seen: Seen) -> None:
    page = seen.go()
    page.request.put(f"{seen.url}/v1/collections/nothing", data={})
    seen.go("/?view=quality&c=nothing")

    expect(page.get_by_text("No item has both a picture and a text.")).to_be_visible()
    expect(page.get_by_text("There are no pictures, or no texts.")).to_be_visible()
    page.request.delete(f"{seen.url}/v1/collections/nothing")
