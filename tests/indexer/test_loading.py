"""Pictures of rows, wherever they lie: read once, within limits, and never from where they must not be."""

import hashlib
import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.collection import Collection
from indexer.errors import FetchFailed, ImageFetchFailed, ItemInvalid, SourceForbidden, UrlForbidden
from indexer.fetching.fetcher import Fetcher
from indexer.fetching.objects import ObjectStores
from indexer.ingest import loading
from indexer.ingest.loading import PictureLoader
from indexer.ingest.pipeline import ingest
from indexer.jobs.store import ChunkReport, RowReport
from indexer.sources import Row, read_source
from indexer.stores.database import Database
from indexer.stores.originals import Originals
from indexer.stores.url_versions import UrlVersions
from models.errors import ImageTooLarge
from models.imaging import ImageLimits
from tests.indexer.sources.catalogues import fault
from tests.object_store import ObjectStore
from tests.pictures import data_uri, picture
from tests.servers import Request, answer, serve

RED = picture("red")
LIMITS = ImageLimits(max_bytes=len(RED) + 100)
LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]


class Folder:
    """The loader of a data folder, and what it works with."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(folder / "catalogue.db")
        self.originals = Originals(folder / "originals")
        self.fetcher = Fetcher(LOOPBACK, attempts=1)
        self.load = self.loader()

    def loader(self) -> PictureLoader:
        """Another one, which knows what is stored and no more."""
        objects, versions = ObjectStores(["s3://shop/public"]), UrlVersions(self.database)
        return PictureLoader(self.fetcher, objects, self.originals, versions, LIMITS)

    def commit(self, *contents: bytes) -> None:
        """As the chunk does that has these pictures."""
        by_hash = {hashlib.sha256(content).hexdigest(): content for content in contents}
        with self.originals.stored(by_hash), self.database.write() as connection:
            self.load.remember(connection)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path)
    yield folder
    folder.fetcher.close()
    folder.database.close()


def tagged(content: bytes, etag: str):  # type: ignore[no-untyped-def]
    """Answers with the content, or that it is known already."""

    def give(request: Request, connection: socket.socket) -> bytes:
        if request.headers.get("if-none-match") == etag:
            return answer(status=304, etag=etag)
        return answer(content, etag=etag)

    return give


def test_bytes_and_data_uris_are_what_they_are(folder: Folder) -> None:
    assert folder.load(RED) == RED
    assert folder.load(data_uri(RED)) == RED
    assert folder.load(data_uri(RED).replace("data:", "DATA:")) == RED


def test_a_file_is_read(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(RED)
    assert folder.load(tmp_path / "a.png") == RED


def test_no_picture_is_read_further_than_the_limit(folder: Folder, tmp_path: Path, object_store: ObjectStore) -> None:
    for size, is_allowed in ((LIMITS.max_bytes, True), (LIMITS.max_bytes + 1, False)):
        data = bytes(size)
        (tmp_path / "a.png").write_bytes(data)
        with serve({"/a.png": answer(data)}) as server:
            url = object_store.put("public/a.png", data)
            for reference in (data, data_uri(data), tmp_path / "a.png", f"{server.url}/a.png", url):
                if is_allowed:
                    assert folder.load(reference) == data
                else:
                    with pytest.raises(ImageTooLarge, match=f"{LIMITS.max_bytes:,}"):
                        folder.load(reference)


def test_a_file_without_end_is_read_no_further(folder: Folder) -> None:
    with pytest.raises(ImageTooLarge):
        loading.read_file(Path("/dev/zero"), LIMITS)


def test_a_reference_is_one_of_few_kinds(folder: Folder) -> None:
    for reference in ("/etc/passwd", "file:///etc/passwd", "ftp://host/a.png", "a.png", ""):
        with pytest.raises(ItemInvalid, match="an image is a data: URI"):
            folder.load(reference)


def test_urls_and_objects_are_behind_their_guards(folder: Folder) -> None:
    with pytest.raises(UrlForbidden):
        folder.load("http://169.254.169.254/latest/meta-data")
    with pytest.raises(SourceForbidden):
        folder.load("s3://shop/secret.png")


def test_an_unchanged_picture_is_not_downloaded_again(folder: Folder) -> None:
    with serve({"/a.png": tagged(RED, '"1"')}) as server:
        url = f"{server.url}/a.png"
        assert folder.load(url) == RED
        folder.commit(RED)
        assert folder.loader()(url) == RED
        assert [request.headers.get("if-none-match") for request in server.requests] == [None, '"1"']

        server.answers["/a.png"] = tagged(RED[::-1], '"2"')
        assert folder.load(url) == RED[::-1]
        folder.commit(RED[::-1])
        assert folder.loader()(url) == RED[::-1]
        assert [request.headers.get("if-none-match") for request in server.requests[2:]] == ['"1"', '"2"']


def test_an_unchanged_object_is_not_downloaded_again(folder: Folder, object_store: ObjectStore) -> None:
    url = object_store.put("public/a.png", RED)
    assert folder.load(url) == RED
    folder.commit(RED)
    kept = hashlib.sha256(RED).hexdigest()
    (path,) = (path for path in folder.originals._folder.rglob("*") if path.name == kept)
    path.write_bytes(b"stored")  # so that it shows where the bytes come from
    assert folder.loader()(url) == b"stored"
    object_store.put("public/a.png", b"changed")
    assert folder.loader()(url) == b"changed"


def test_a_picture_that_is_no_longer_stored_is_asked_for_whole(folder: Folder) -> None:
    with serve({"/a.png": tagged(RED, '"1"')}) as server:
        folder.load(f"{server.url}/a.png")
        folder.commit()  # the item was refused, or its original is removed since
        assert folder.loader()(f"{server.url}/a.png") == RED
        assert [request.headers.get("if-none-match") for request in server.requests] == [None, None]


def test_a_picture_that_is_removed_while_its_url_is_asked_is_asked_for_again(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve({"/a.png": tagged(RED, '"1"')}) as server:
        folder.load(f"{server.url}/a.png")
        folder.commit(RED)
        monkeypatch.setattr(folder.originals, "read", lambda sha256: None)
        assert folder.loader()(f"{server.url}/a.png") == RED
        assert [request.headers.get("if-none-match") for request in server.requests] == [None, '"1"', None]


def test_tags_of_a_chunk_that_was_not_committed_are_not_kept(folder: Folder) -> None:
    def fail() -> None:
        with folder.database.write() as connection:
            folder.load.remember(connection)
            raise RuntimeError("the disk is full")

    with serve({"/a.png": tagged(RED, '"1"')}) as server:
        folder.load(f"{server.url}/a.png")
        with pytest.raises(RuntimeError):
            fail()
        assert UrlVersions(folder.database).etag_of(f"{server.url}/a.png") is None


def test_what_is_gone_is_an_error(folder: Folder, tmp_path: Path, object_store: ObjectStore) -> None:
    with serve({}) as server, pytest.raises(ImageFetchFailed, match="status 404"):
        folder.load(f"{server.url}/a.png")
    with pytest.raises(FetchFailed, match="does not exist"):
        folder.load("s3://shop/public/none.png")
    with pytest.raises(FileNotFoundError):
        folder.load(tmp_path / "none.png")


def test_links_that_lead_out_of_the_catalogues_folder_are_no_pictures(folder: Folder, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    (shop / "images").mkdir(parents=True)
    (shop / "images" / "a.png").write_bytes(RED)
    (tmp_path / "secret.png").write_bytes(b"secret")
    (shop / "in.png").symlink_to(shop / "images" / "a.png")
    (shop / "out.png").symlink_to(tmp_path / "secret.png")
    (shop / "parent").symlink_to(tmp_path)
    names = ["images/a.png", "in.png", "out.png", "parent/secret.png", str(tmp_path / "secret.png")]
    (shop / "catalog.csv").write_text("title,image\n" + "".join(f"a,{name}\n" for name in names))
    rows = list(read_source(shop))
    loaded = [folder.load(row.image) for row in rows[:2] if isinstance(row, Row) and row.image]
    assert loaded == [RED, RED]
    assert all("outside" in fault(row) for row in rows[2:])
    (shop / "catalog.csv").unlink()
    found = {row.id: row for row in read_source(shop)}
    assert set(found) == {"images/a.png", "in.png", "out.png"}
    assert "outside" in fault(found["out.png"])


def test_faults_of_every_kind_are_faults_of_their_rows(
    folder: Folder, tmp_path: Path, object_store: ObjectStore, collection: Collection
) -> None:
    (tmp_path / "large.png").write_bytes(bytes(LIMITS.max_bytes + 1))
    (tmp_path / "vanishes.png").write_bytes(RED)
    with serve({"/a.png": answer(RED)}) as server:
        references = [
            f"{server.url}/a.png",
            f"{server.url}/none.png",
            "http://10.0.0.1/a.png",
            "s3://shop/public/none.png",
            "s3://shop/secret.png",
            "large.png",
            "vanishes.png",
            "none.png",
            "data:image/png;base64,?",
        ]
        (tmp_path / "a.csv").write_text("title,image\n" + "".join(f'red,"{reference}"\n' for reference in references))
        rows = list(read_source(tmp_path / "a.csv"))
        (tmp_path / "vanishes.png").unlink()
        reports: list[RowReport] = []

        def keep(chunk: ChunkReport, _: object) -> None:
            reports.extend(chunk.rows)

        ingest(collection, rows, folder.load, keep)
    assert [(report.level, report.row, report.code) for report in reports] == [
        ("warning", 2, "image-fetch-failed"),
        ("warning", 3, "url-forbidden"),
        ("warning", 4, "fetch-failed"),
        ("warning", 5, "source-forbidden"),
        ("warning", 6, "image-too-large"),
        ("warning", 7, "row-invalid"),
        ("warning", 8, "row-invalid"),
        ("warning", 9, "item-invalid"),
    ]
    assert collection.info().items == 9
    assert all("\n" not in report.detail and str(tmp_path) not in report.detail for report in reports)
