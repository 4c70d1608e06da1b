"""A server with the sample catalogue, and Debian's Chromium to look at it."""

import base64
import csv
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from app.sample import draw_sample
from models.store import EMBEDDED
from tests.e2e.conftest import spawn, wait_until_ready
from tests.waiting import WAIT_S

ITEMS = 60
PATIENCE_MS = WAIT_S * 1000
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SHOTS = os.environ.get("SIGHTLINE_SHOTS")
"""Folder for screenshots, for people to look at."""

Open = Callable[..., "Seen"]


@dataclass
class Seen:
    """A page that is open, and what must not happen on it."""

    page: Page
    url: str
    faults: list[str] = field(default_factory=list)
    """Errors in its console, scripts and styles that the policy refused among them, and requests to elsewhere."""

    def go(self, address: str = "/") -> Page:
        self.page.goto(self.url + address)
        return self.page

    def note(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.faults.append(message.text)

    def note_request(self, request: Request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.faults.append(request.url)


@pytest.fixture(scope="package")  # while it is there an event loop runs, which tests elsewhere must not find
def browser() -> Iterator[Browser]:
    """Chromium, which the tests need and do not bring."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small sample catalogue."""
    folder = tmp_path_factory.mktemp("shop")
    draw_sample(folder, items=ITEMS)
    return folder


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory, shop: Path) -> Iterator[str]:
    """Address of a server with the sample, and with a second model."""
    folder = tmp_path_factory.mktemp("server")
    add_model(folder / "data" / "models" / "coarse")
    log = folder / "server.log"
    process = spawn(log, "serve", "--port", 0, "--data-dir", folder / "data")
    try:
        url = wait_until_ready(process, log)
        fill(url, shop)
        yield url
    finally:
        process.kill()
        process.wait()


def add_model(folder: Path) -> None:
    """The embedded model with another preprocessing: another fingerprint, and almost the same vectors."""
    shutil.copytree(EMBEDDED, folder)
    manifest = (folder / "model.json").read_text().replace('"sightline-fashion-s"', '"coarse"', 1)
    (folder / "model.json").write_text(manifest.replace('"longest"', '"shortest"').replace('"bicubic"', '"bilinear"'))


def fill(url: str, shop: Path, collection: str = "default", headers: dict[str, str] | None = None) -> None:
    """Store the sample's items."""
    with (shop / "catalog.csv").open() as file:
        items = [item_of(row, shop) for row in csv.DictReader(file)]
    answer = httpx.post(
        f"{url}/v1/collections/{collection}/items", json={"items": items}, headers=headers, timeout=WAIT_S
    )
    assert all(result["status"] == "created" for result in answer.raise_for_status().json()["results"])


def item_of(row: dict[str, str], shop: Path) -> dict[str, object]:
    picture = base64.b64encode((shop / row.pop("image")).read_bytes()).decode()
    metadata = row | {"price": float(row["price"])}
    return {
        "id": metadata.pop("id"),
        "text": metadata.pop("title"),
        "image": f"data:image/jpeg;base64,{picture}",
        "metadata": metadata,
    }


@pytest.fixture
def open_page(browser: Browser, url: str) -> Iterator[Open]:
    """Open the page as a certain device has it; at the end nothing may have gone wrong on it."""
    opened: list[Seen] = []

    def open_page(at: str = url, **options: object) -> Seen:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)  # type: ignore[arg-type]
        seen = Seen(context.new_page(), at)
        seen.page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        seen.page.on("console", seen.note)
        seen.page.on("pageerror", lambda error: seen.faults.append(str(error)))
        seen.page.on("request", seen.note_request)
        opened.append(seen)
        return seen

    yield open_page
    for seen in opened:
        seen.page.context.close()
    assert [fault for seen in opened for fault in seen.faults] == []


@pytest.fixture
def seen(open_page: Open) -> Seen:
    return open_page()
