"""Texts of a catalogue that want to be markup or scripts stay texts, in every view."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import Seen, item_of

MARKUP = "<img src=x onerror=hacked=1><script>hacked=1</script>"
QUOTED = "\"'><svg onload=hacked=1>"
LINK = "javascript:hacked=1"
BRAND = "<svg onload=hacked=1>"  # short enough for a filter's menu


@pytest.fixture
def collection(url: str, shop: Path) -> Iterator[str]:
    row = dict(zip(("id", "title", "price", "image"), (QUOTED, MARKUP, "5", "images/0005.jpg"), strict=True))
    item = item_of(row, shop)
    item["metadata"] = {
        "brand": BRAND,
        MARKUP: QUOTED,
        "url": LINK,
        "nested": {MARKUP: [MARKUP]},
        "tag": [MARKUP, QUOTED],
    }
    others = [{"id": f"{MARKUP}{n}", "text": f"{QUOTED} {n}", "metadata": {"brand": QUOTED}} for n in range(25)]
    httpx.put(f"{url}/v1/collections/hostile", json={}).raise_for_status()
    twin = item | {"id": LINK}
    stored = httpx.post(f"{url}/v1/collections/hostile/items", json={"items": [item, twin, *others]}, timeout=60)
    assert all("error" not in result for result in stored.raise_for_status().json()["results"])
    yield "hostile"
    httpx.delete(f"{url}/v1/collections/hostile").raise_for_status()


def assert_unharmed(page: Page) -> None:
    assert page.evaluate("typeof hacked") == "undefined"
    foreign = "img[src=x], svg[onload], script:not([src^='/static/']), a[href^='javascript:']"
    assert page.locator(foreign).count() == 0


def test_the_policy_stops_what_got_in(seen: Seen) -> None:
    """What all the other tests rely on: were there a script, a style or a handler, it would not run and be told."""
    page = seen.go()
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=hacked=1>')")
    page.evaluate("document.head.append(Object.assign(document.createElement('script'), {textContent: 'hacked = 1'}))")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">styled</p>')")

    expect(page.locator("img[src=x]")).to_have_js_property("complete", True)
    assert page.evaluate("typeof hacked") == "undefined"
    assert len([fault for fault in seen.faults if "Content Security Policy" in fault]) == 3
    seen.faults.clear()


def test_in_the_gallery_the_filters_and_close_up(seen: Seen, collection: str) -> None:
    page = seen.go(f"/?c={collection}")
    expect(page.get_by_text(MARKUP, exact=True).first).to_be_visible()
    page.get_by_role("group", name="Filters").get_by_text("Brand").click()
    page.get_by_role("group", name="Brand").get_by_text(BRAND, exact=True).click()
    expect(page.get_by_role("button", name=f"Remove the filter {BRAND}")).to_be_visible()
    page.get_by_label("Search by text").fill(MARKUP)
    page.keyboard.press("Enter")
    expect(page.locator(".summary")).to_contain_text(f"“{MARKUP}”")
    page.locator(".gallery .tile").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading").first).to_have_text(MARKUP)
    dialog.get_by_role("button", name="Less like this").click()

    expect(page.locator(".chip.less")).to_be_visible()
    assert_unharmed(page)


def test_in_the_address(seen: Seen, collection: str) -> None:
    page = seen.go(
        f'/?c={collection}&q={MARKUP}&item={QUOTED}&t=0.5:{MARKUP}&i=-1:{LINK}&filter={{"{MARKUP}":"{MARKUP}"}}'
    )

    expect(page.locator(".chip.set")).to_be_visible()
    expect(page.locator(".gallery")).to_have_attribute("aria-busy", "false")
    assert_unharmed(page)


@pytest.mark.parametrize("view", ["quality", "generations", "collections", "models"])
def test_in_the_other_views(seen: Seen, collection: str, view: str) -> None:
    page = seen.go(f"/?view={view}&c={collection}&q={MARKUP}")

    expect(page.locator(".panel").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert_unharmed(page)


def test_in_catalogues_their_reports_and_names_of_files(
    seen: Seen, collection: str, shop: Path, tmp_path: Path
) -> None:
    page = seen.go(f"/?view=add&c={collection}")
    catalogue, picture = tmp_path / "<img src=x onerror=hacked=1>.csv", tmp_path / "<img src=x onerror=hacked=1>.jpg"
    catalogue.write_text(f'id,title,"{MARKUP}"\n1,{MARKUP},{MARKUP}\n{MARKUP},,\n')
    picture.write_bytes((shop / "images" / "0005.jpg").read_bytes())
    page.get_by_label("Catalogue file").set_input_files(catalogue)
    expect(page.get_by_role("cell", name=MARKUP).first).to_be_visible()
    page.get_by_label("Pictures to add").set_input_files(picture)
    expect(page.get_by_text("1 picture stored.")).to_be_visible()
    page.get_by_role("button", name="Take it in").click()

    job = page.locator(".job").first
    expect(job.locator(".badge")).to_have_text("succeeded")
    job.get_by_text("Bad rows").click()
    expect(job.get_by_role("cell", name=MARKUP)).to_be_visible()
    assert_unharmed(page)
