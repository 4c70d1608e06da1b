"""Pictures and catalogues added on the page, and their jobs."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.page.conftest import Seen


@pytest.fixture
def collection(url: str) -> Iterator[str]:
    """An empty collection of the test's own."""
    httpx.put(f"{url}/v1/collections/inbox", json={}).raise_for_status()
    yield "inbox"
    httpx.delete(f"{url}/v1/collections/inbox").raise_for_status()


@pytest.fixture
def page(seen: Seen, collection: str) -> Page:
    page = seen.go(f"/?view=add&c={collection}")
    expect(page.get_by_role("heading", name="Add to inbox")).to_be_visible()
    return page


def job_of(page: Page, file: str) -> Locator:
    """Its card; the jobs of other tests, whose collection had the same name, stay listed."""
    return page.locator(".job").filter(has_text=file)


def test_pictures_are_uploaded_each_with_its_progress(seen: Seen, page: Page, shop: Path, tmp_path: Path) -> None:
    files = [tmp_path / "red_dress.jpg", tmp_path / "again.jpg", tmp_path / "broken.jpg"]
    for file in files[:2]:
        shutil.copyfile(shop / "images" / "0005.jpg", file)
    files[2].write_bytes(b"no picture at all")
    page.get_by_label("Pictures to add").set_input_files(files)

    expect(page.get_by_text("2 pictures stored, 1 failed.")).to_be_visible()
    rows = page.locator(".uploads li")
    expect(rows.filter(has_text="red_dress.jpg")).to_contain_text("created")
    expect(rows.filter(has_text="broken.jpg").locator(".wrong")).to_be_visible()
    expect(rows.filter(has_text="broken.jpg").get_by_role("button", name="Try again")).to_be_visible()
    items = httpx.get(f"{seen.url}/v1/collections/inbox/items").json()["items"]
    assert {item["id"]: item["text"] for item in items} == {"red_dress": "red dress", "again": "again"}
    expect(page.locator("#collection").locator("option:checked")).to_have_text("inbox (2)")
    seen.faults.clear()  # the console tells of the refusal


def test_a_catalogue_shows_its_columns_before_and_its_progress_after(seen: Seen, page: Page, tmp_path: Path) -> None:
    file = tmp_path / "catalogue.csv"
    rows = [f'{number};"Shoe ""{number}""; black";Fjordline' for number in range(40)]
    file.write_text("\n".join(["sku;product name;maker", *rows, "40;;"]))
    page.get_by_label("Catalogue file").set_input_files(file)

    mapping = page.get_by_role("group", name="Columns", exact=True)
    expect(mapping.get_by_label("Id")).to_have_value("sku")
    expect(mapping.get_by_label("Text")).to_have_value("product name")
    expect(mapping.get_by_label("Picture")).to_have_value("")
    expect(mapping.get_by_role("cell", name='Shoe "0"; black')).to_be_visible()
    expect(mapping).to_contain_text("Metadata: maker")
    page.get_by_role("button", name="Take it in").click()

    job = job_of(page, "catalogue.csv")
    expect(job.locator(".badge")).to_have_text("succeeded")
    expect(job).to_contain_text("40 created · 1 failed")
    expect(job).to_contain_text("Columns: id = sku; text = product name; metadata = maker")
    job.get_by_text("Bad rows").click()
    expect(job.get_by_role("cell", name="41", exact=True)).to_be_visible()
    item = httpx.get(f"{seen.url}/v1/collections/inbox/items/7").raise_for_status().json()
    assert (item["text"], item["metadata"]) == ('Shoe "7"; black', {"maker": "Fjordline"})


def test_columns_are_chosen_where_the_guess_is_wrong(seen: Seen, page: Page, tmp_path: Path) -> None:
    file = tmp_path / "catalogue.jsonl"
    lines = [{"nr": "a", "title": "wrong", "words": {"en": "red dress"}}, {"nr": "b", "words": {"en": "hat"}}]
    file.write_text("\n".join(map(json.dumps, lines)))
    page.get_by_label("Catalogue file").set_input_files(file)
    mapping = page.get_by_role("group", name="Columns", exact=True)
    mapping.get_by_label("Id").select_option("nr")
    mapping.get_by_label("Text").select_option("words.en")
    expect(mapping).to_contain_text("Metadata: title")

    page.get_by_role("button", name="Take it in").click()

    expect(job_of(page, "catalogue.jsonl").locator(".badge")).to_have_text("succeeded")
    assert httpx.get(f"{seen.url}/v1/collections/inbox/items/a").json()["text"] == "red dress"


def test_a_zip_with_its_pictures_goes_in(seen: Seen, page: Page, shop: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "shop"), "zip", shop)
    page.get_by_label("Catalogue file").set_input_files(archive)
    expect(page.get_by_role("group", name="Columns", exact=True)).to_contain_text("The server will guess")

    page.get_by_role("button", name="Take it in").click()

    job = job_of(page, "shop.zip")
    expect(job.locator(".badge")).to_have_text("succeeded")
    expect(job).to_contain_text("60 created")


def test_pictures_beside_a_catalogue_are_missed(page: Page, shop: Path) -> None:
    page.get_by_label("Catalogue file").set_input_files(shop / "catalog.csv")
    warning = page.get_by_text("Pictures that lie beside this file stay behind")
    expect(warning).to_be_visible()

    page.get_by_role("group", name="Columns", exact=True).get_by_label("Picture").select_option("")

    expect(warning).to_be_hidden()


def test_a_place_that_the_server_may_not_read_is_told(seen: Seen, page: Page) -> None:
    page.get_by_label("or where it lies").fill("/etc/passwd")
    page.get_by_role("button", name="Take it in").click()

    expect(page.locator("#status.wrong")).to_contain_text("source")
    seen.faults.clear()


def test_a_job_is_followed_live_and_cancelled(page: Page, shop: Path, tmp_path: Path) -> None:
    """Its progress is told while it runs: the bar moves without anything being clicked."""
    file = tmp_path / "long.csv"
    file.write_text("id,title\n" + "".join(f"{n},black shoe number {n}\n" for n in range(200_000)))
    page.get_by_label("Catalogue file").set_input_files(file)
    page.get_by_role("button", name="Take it in").click()
    job = job_of(page, "long.csv")
    expect(job).to_contain_text("a second")
    done = job.locator("progress")
    before = done.evaluate("bar => bar.value")
    page.wait_for_function("before => document.querySelector('.job progress').value > before", arg=before)

    job.get_by_role("button", name="Cancel").click()

    expect(job.locator(".badge")).to_have_text("cancelled")
