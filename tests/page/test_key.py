"""A server that asks for a key."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from indexer.stores.database import Database
from indexer.stores.keys import KeyStore, NewKey
from tests.e2e.conftest import spawn, wait_until_ready
from tests.page.conftest import Open, fill

KEY = "the-key-of-this-test"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("locked")


@pytest.fixture(scope="module")
def locked(folder: Path, shop: Path) -> Iterator[str]:
    (folder / "sightline.toml").write_text(f'api_key = "{KEY}"\n')
    log = folder / "server.log"
    process = spawn(log, "serve", "--port", 0, "--data-dir", folder / "data")
    try:
        url = wait_until_ready(process, log)
        fill(url, shop, headers={"Authorization": f"Bearer {KEY}"})
        yield url
    finally:
        process.kill()
        process.wait()


def test_a_key_is_asked_for_once_and_kept_for_the_tab(open_page: Open, locked: str) -> None:
    seen = open_page(locked)
    page = seen.go("/?q=red+dress")
    dialog = page.get_by_role("dialog", name="Key")
    dialog.get_by_label("Key").fill("wrong")
    dialog.get_by_role("button", name="Continue").click()
    expect(dialog).to_contain_text("does not know this key")

    dialog.get_by_label("Key").fill(KEY)
    dialog.get_by_label("Key").press("Enter")

    expect(dialog).to_have_count(0)
    expect(page.locator(".gallery img.there").first).to_have_attribute("src", re.compile("^blob:"))
    assert page.evaluate("[localStorage.length, document.cookie, location.href.includes('key')]") == [0, "", False]
    seen.faults.clear()  # the console tells of the refusals
    page.reload()
    expect(page.locator(".gallery img.there").first).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 1


def test_uploads_and_jobs_carry_the_key(open_page: Open, locked: str, shop: Path, tmp_path: Path) -> None:
    seen = open_page(locked)
    page = seen.go("/?view=add")
    dialog = page.get_by_role("dialog", name="Key")
    dialog.get_by_label("Key").fill(KEY)
    dialog.get_by_label("Key").press("Enter")
    expect(dialog).to_have_count(0)
    seen.faults.clear()
    (tmp_path / "hats.csv").write_text("id,title\nhat,a red hat\n")

    page.get_by_label("Pictures to add").set_input_files(shop / "images" / "0005.jpg")
    expect(page.get_by_text("1 picture stored.")).to_be_visible()
    page.get_by_label("Catalogue file").set_input_files(tmp_path / "hats.csv")
    page.get_by_role("button", name="Take it in").click()

    expect(page.locator(".job .badge").first).to_have_text("succeeded")


def test_without_a_key_the_page_says_so(open_page: Open, locked: str) -> None:
    seen = open_page(locked)
    page = seen.go("/?q=red+dress")
    expect(page.get_by_role("dialog", name="Key")).to_be_visible()
    page.keyboard.press("Escape")

    expect(page.locator(".end").get_by_role("alert")).to_contain_text("This takes a key")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_role("dialog", name="Key")).to_be_visible()
    seen.faults.clear()


def test_a_key_for_other_collections_begins_with_one_of_them_and_gives_way_to_another_key(
    open_page: Open, locked: str, folder: Path
) -> None:
    database = Database(folder / "data" / "catalogue.db")
    _, narrow = KeyStore(database).create(NewKey("", ("read",), ("shop*",)))
    database.close()
    httpx.put(f"{locked}/v1/collections/shop-1", json={}, headers={"Authorization": f"Bearer {KEY}"}).raise_for_status()
    seen = open_page(locked)
    page = seen.go("/?q=red+dress")
    dialog = page.get_by_role("dialog", name="Key")
    dialog.get_by_label("Key").fill(narrow)
    dialog.get_by_label("Key").press("Enter")
    expect(page.locator("#collection").locator("option:checked")).to_have_text("shop-1 (0)")
    expect(page.locator(".summary")).to_contain_text("Nothing found")

    page.get_by_role("button", name="Key").click()
    dialog.get_by_label("Key").fill(KEY)
    dialog.get_by_role("button", name="Continue").click()

    expect(page.locator("#collection").locator("option")).to_have_text([re.compile("^default"), "shop-1 (0)"])
    page.locator("#collection").select_option("default")
    expect(page.locator(".gallery img.there").first).to_be_visible()
    seen.faults.clear()  # the console tells of the refusals
