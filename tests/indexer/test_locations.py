"""Where catalogues may lie, what is brought from there, and what is left of it."""

import hashlib
import io
import ipaddress
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indexer.errors import (
    ContentTooLarge,
    FetchFailed,
    SourceForbidden,
    SourceInvalid,
    StorageUnavailable,
    UrlForbidden,
)
from indexer.fetching.fetcher import Fetcher
from indexer.fetching.objects import ObjectStores
from indexer.ingest import arrivals as module
from indexer.ingest.locations import Locations, Place
from indexer.sources import BadRow, Row, read_source
from tests.indexer.sources.catalogues import FORMATS, csv_bytes, products, write_tar
from tests.object_store import ObjectStore
from tests.pictures import picture
from tests.servers import Answer, Request, Server, answer, flood, redirect, serve

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]
CSV = b"id,title\n1,red\n2,blue\n"
MAX_BYTES = 100_000

Open = Callable[..., Locations]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The folder that jobs may read from."""
    (tmp_path / "shop").mkdir()
    return tmp_path / "shop"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def open_locations(shop: Path, spool: Path) -> Iterator[Open]:
    """Another one over the same spool, as after a restart."""
    with Fetcher(LOOPBACK, attempts=1) as fetcher:

        def open_(*more: str, max_bytes: int = MAX_BYTES) -> Locations:
            roots = [str(shop), "s3://shop/public", *more]
            return Locations(spool, roots, fetcher, ObjectStores(roots), max_bytes)

        yield open_


@pytest.fixture
def locations(open_locations: Open) -> Locations:
    return open_locations()


@pytest.fixture
def server() -> Iterator[Server]:
    with serve({"/shop/catalog.csv": answer(CSV)}) as running:
        yield running


def ids(place: Place) -> list[str]:
    return [row.id for row in read_source(place.path, base_url=place.base_url)]


def images(place: Place) -> list[object]:
    rows: list[Row | BadRow] = list(read_source(place.path, base_url=place.base_url, within=place.picture_folders))
    return [row.image if isinstance(row, Row) else row.detail for row in rows]


def held(spool: Path) -> set[str]:
    """What the spool holds."""
    return {path.relative_to(spool).as_posix() for path in spool.rglob("*")} if spool.exists() else set()


# Folders of this machine


@pytest.mark.parametrize("name", FORMATS)
def test_a_catalogue_in_an_allowed_folder_is_read_where_it_lies(
    locations: Locations, shop: Path, spool: Path, name: str
) -> None:
    source = FORMATS[name](shop, products())
    locations.check(str(source))
    place = locations.open(str(source), "job")
    assert (place.path, place.base_url, len(ids(place))) == (source, None, 50)
    assert held(spool) == set()


def test_the_version_is_another_one_after_a_change(locations: Locations, shop: Path) -> None:
    (shop / "a.csv").write_bytes(CSV)
    first = locations.open(str(shop / "a.csv"), "job").version
    assert locations.open(str(shop / "a.csv"), "another").version == first
    (shop / "a.csv").write_bytes(CSV + b"3,green\n")
    assert locations.open(str(shop / "a.csv"), "job").version != first


@pytest.mark.parametrize(
    "source",
    [
        "{outside}/a.csv", "{shop}/../outside/a.csv", "{shop}/inner/../../outside/a.csv", "{shop}/..",
        "{shop}-too/a.csv", "{shop}/link.csv", "{shop}/chain.csv", "{shop}/linked/a.csv",
        "{shop}/linked/../outside/a.csv", "{shop}/dangling.csv", "{outside}/{{0..1}}.tar",
        "/proc/self/root{outside}/a.csv", "/proc/self/cwd", "/", "/etc/passwd", "//etc/passwd",
    ],
)  # fmt: skip
def test_what_lies_outside_is_refused_after_links_are_resolved(
    locations: Locations, shop: Path, tmp_path: Path, source: str
) -> None:
    for folder in ("outside", "shop-too", "shop/inner"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.csv").write_bytes(CSV)
    (shop / "link.csv").symlink_to(tmp_path / "outside" / "a.csv")
    (shop / "chain.csv").symlink_to(shop / "link.csv")
    (shop / "dangling.csv").symlink_to(tmp_path / "outside" / "none.csv")
    (shop / "linked").symlink_to(tmp_path / "outside")
    named = source.format(shop=shop, outside=tmp_path / "outside")
    for ask in (locations.check, lambda source: locations.open(source, "job")):
        with pytest.raises(SourceForbidden, match="SIGHTLINE_INGEST_ROOTS"):
            ask(named)


@pytest.mark.parametrize(
    "source",
    [
        "", "catalog.csv", "shop/catalog.csv", "../shop/a.csv", "~/a.csv", "a\x00b", "/a\x00b", "file:///etc/passwd",
        "upload:abc/a.csv", "upload:../shop/a.csv", "ftp://host/a.csv", "S3://shop/public/a.csv", "https:/host/a.csv",
        "http://[::1/a.csv",
    ],
)  # fmt: skip
def test_what_is_no_place_is_refused_before_there_is_a_job(locations: Locations, source: str) -> None:
    with pytest.raises(SourceInvalid) as raised:
        locations.check(source)
    assert raised.value.pointer == "/source"


def test_links_within_the_allowed_folders_are_followed(open_locations: Open, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.csv").write_bytes(CSV)
    (shop / "a.csv").symlink_to(tmp_path / "more" / "a.csv")
    (tmp_path / "alias").symlink_to(shop)
    place = open_locations(str(tmp_path / "more")).open(str(shop / "a.csv"), "job")
    assert (place.name, ids(place)) == (str(shop / "a.csv"), ["1", "2"])
    root_by_its_link = open_locations(str(tmp_path / "alias"), str(tmp_path / "more"))
    assert ids(root_by_its_link.open(str(tmp_path / "alias" / "a.csv"), "job")) == ["1", "2"]
    with pytest.raises(SourceForbidden):
        open_locations().open(str(shop / "a.csv"), "job")


def test_no_file_of_an_allowed_folder_may_lead_out_of_it(locations: Locations, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_bytes(CSV)
    write_tar(tmp_path / "secret.tar", products(1))
    for folder, name, target in (("a", "catalog.csv", "secret.csv"), ("b", "s-1.tar", "secret.tar")):
        (shop / folder).mkdir()
        (shop / folder / name).symlink_to(tmp_path / target)
        locations.check(str(shop / folder))
        with pytest.raises(SourceForbidden):
            locations.open(str(shop / folder), "job")
    with pytest.raises(SourceForbidden):
        locations.open(str(shop / "b" / "s-{1..1}.tar"), "job")


def test_a_picture_may_lie_anywhere_under_the_allowed_folders(open_locations: Open, shop: Path, tmp_path: Path) -> None:
    for folder in ("feeds", "photos", "feeds/linked"):
        (shop / folder).mkdir()
    (tmp_path / "more").mkdir()
    for path in (shop / "photos" / "a.png", tmp_path / "more" / "b.png", tmp_path / "secret.png"):
        path.write_bytes(picture("red"))
    a, b = shop / "photos" / "a.png", tmp_path / "more" / "b.png"
    (shop / "feeds" / "link.png").symlink_to(b)
    (shop / "feeds" / "linked" / "photos").symlink_to(shop / "photos")
    (shop / "feeds" / "secret.png").symlink_to(tmp_path / "secret.png")
    names = ["../photos/a.png", "..\\photos\\a.png", str(a), str(b), "link.png", "linked/photos/a.png"]
    outside = ["secret.png", "../../secret.png", str(tmp_path / "secret.png"), str(tmp_path / "none.png")]
    rows = "".join(f"{n},red,{name}\n" for n, name in enumerate([*names, *outside]))
    (shop / "feeds" / "a.csv").write_text("id,title,image\n" + rows)
    place = open_locations(str(tmp_path / "more")).open(str(shop / "feeds" / "a.csv"), "job")
    assert images(place) == [a, a, a, b, b, a, None, None, None, None]


def test_a_picture_beside_the_catalogue_may_not_lead_out_of_the_allowed_folders(
    locations: Locations, shop: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.png").write_bytes(picture("red"))
    (shop / "mine.png").write_bytes(picture("blue"))
    (shop / "link.png").symlink_to(tmp_path / "secret.png")
    names = ["mine.png", "link.png", "../secret.png", str(tmp_path / "secret.png"), "file:///etc/passwd"]
    (shop / "a.csv").write_text("id,title,image\n" + "".join(f"{n},red,{name}\n" for n, name in enumerate(names)))
    assert images(locations.open(str(shop / "a.csv"), "job")) == [shop / "mine.png", None, None, None, None]
    assert images(locations.open(str(shop), "job")) == [None, shop / "mine.png"]


def test_a_pipe_is_no_catalogue(locations: Locations, shop: Path) -> None:
    os.mkfifo(shop / "pipe.csv")
    with pytest.raises(SourceInvalid, match="no file and no folder"):
        locations.open(str(shop / "pipe.csv"), "job")


def test_without_allowed_folders_no_path_is_read(spool: Path, shop: Path) -> None:
    with Fetcher() as fetcher:
        nothing = Locations(spool, [], fetcher, ObjectStores([]), MAX_BYTES)
        for source in (str(shop), "/", str(spool), os.getcwd()):
            with pytest.raises(SourceForbidden):
                nothing.check(source)


# Uploads


def test_an_upload_is_kept_until_it_is_forgotten(open_locations: Open, spool: Path) -> None:
    source, sha256 = open_locations().receive(io.BytesIO(CSV), "my shop.csv")
    place = open_locations().open(source, "job")
    assert (place.path.read_bytes(), place.name, place.base_url) == (CSV, "my_shop.csv", None)
    assert sha256 == hashlib.sha256(CSV).hexdigest()
    assert open_locations().open(source, "job").version == place.version
    open_locations().forget(source, "job")
    assert held(spool) == set()


@pytest.mark.parametrize(
    ("filename", "kept"),
    [
        ("../../etc/passwd", "passwd"), ("..\\..\\boot.ini", "boot.ini"), ("/etc/cron.d/x", "x"), ("", "catalogue"),
        ("..", "catalogue"), (".bashrc", "bashrc"), ("a\x00b.csv", "a_b.csv"), ("é.csv", "_.csv"),
        ("x" * 300 + ".csv.gz", "x" * 93 + ".csv.gz"), ("a/", "catalogue"), (".brought", "brought"),
    ],
)  # fmt: skip
def test_the_name_of_an_upload_is_no_path(locations: Locations, spool: Path, filename: str, kept: str) -> None:
    source, _ = locations.receive(io.BytesIO(CSV), filename)
    folder = source.removeprefix("upload:").partition("/")[0]
    assert held(spool) == {folder, f"{folder}/{kept}"}
    assert ids(locations.open(source, "job")) == ["1", "2"]


def test_an_upload_that_is_gone_is_told_without_a_path(locations: Locations, spool: Path) -> None:
    source, _ = locations.receive(io.BytesIO(CSV), "a.csv")
    locations.forget(source)
    with pytest.raises(SourceInvalid, match="send it again") as raised:
        locations.open(source, "job")
    assert "/" not in raised.value.detail


def test_an_upload_over_the_limit_leaves_nothing(open_locations: Open, spool: Path) -> None:
    assert open_locations(max_bytes=len(CSV)).receive(io.BytesIO(CSV), "a.csv")
    before = held(spool)
    with pytest.raises(ContentTooLarge):
        open_locations(max_bytes=len(CSV) - 1).receive(io.BytesIO(CSV), "a.csv")
    assert held(spool) == before


def test_an_upload_that_breaks_off_leaves_nothing(locations: Locations, spool: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(StorageUnavailable, match="Input/output error"):
        locations.receive(Broken(), "a.csv")
    assert held(spool) == set()


def test_where_there_is_no_room_that_is_said(locations: Locations, spool: Path) -> None:
    spool.write_text("a file where the folder should be")
    with pytest.raises(StorageUnavailable):
        locations.receive(io.BytesIO(CSV), "a.csv")


def test_an_upload_names_no_picture_of_this_machine(locations: Locations, shop: Path) -> None:
    (shop / "a.png").write_bytes(picture("red"))
    names = [str(shop / "a.png"), "../../shop/a.png", "a.png", "https://host/a.png"]
    rows = "".join(f"{n},red,{name}\n" for n, name in enumerate(names))
    source, _ = locations.receive(io.BytesIO(f"id,title,image\n{rows}".encode()), "a.csv")
    assert images(locations.open(source, "job")) == [None, None, None, "https://host/a.png"]


# URLs


def test_a_catalogue_behind_a_url_is_downloaded_once(open_locations: Open, server: Server, spool: Path) -> None:
    server.answers["/shop/catalog.csv"] = answer(b"id,image\n1,images/a b.png\n2,/x.png\n3,../../../y.png\n")
    source = f"{server.url}/shop/catalog.csv"
    open_locations().check(source)
    place = open_locations().open(source, "job")
    assert images(place) == [f"{server.url}/shop/images/a%20b.png", None, None]
    del server.answers["/shop/catalog.csv"]
    assert open_locations().open(source, "job") == place  # as after a restart
    assert len(server.requests) == 1
    open_locations().forget(source, "job")
    assert held(spool) == set()


def test_shards_behind_a_pattern_are_one_catalogue(locations: Locations, server: Server, tmp_path: Path) -> None:
    made = products(6)
    for n in range(3):
        write_tar(tmp_path / "s.tar", made[2 * n : 2 * n + 2])
        server.answers[f"/{'x' * 100}/s-{n + 9:02}-{'y' * 100}.tar?key=1"] = answer((tmp_path / "s.tar").read_bytes())
    place = locations.open(f"{server.url}/{'x' * 100}/s-{{09..11}}-{'y' * 100}.tar?key=1", "job")
    assert ids(place) == [product.id for product in made]


def test_a_download_that_failed_goes_on_with_what_is_missing(
    locations: Locations, server: Server, tmp_path: Path
) -> None:
    write_tar(tmp_path / "s.tar", products(2))
    data = (tmp_path / "s.tar").read_bytes()
    server.answers |= {"/0.tar?signature=secret": answer(data)}
    with pytest.raises(FetchFailed, match=r"/1\.tar could not be downloaded: .*404") as raised:
        locations.open(f"{server.url}/{{0..1}}.tar?signature=secret", "job")
    assert "secret" not in raised.value.detail
    server.answers["/1.tar?signature=secret"] = answer(data)
    place = locations.open(f"{server.url}/{{0..1}}.tar?signature=secret", "job")
    assert (len(ids(place)), place.name) == (4, f"{server.url}/{{0..1}}.tar")
    assert [request.target[:6] for request in server.requests] == ["/0.tar", "/1.tar", "/1.tar"]


@pytest.mark.parametrize(
    "pattern", ["s-{0..3}.csv", "s-{3..0}.tar", "s-{0..999999999}.tar", "{0..9}{0..9}{0..9999}.tar"]
)
def test_a_pattern_of_no_shards_is_refused_with_words(locations: Locations, server: Server, pattern: str) -> None:
    for place in (f"{server.url}/", "s3://shop/public/"):
        with pytest.raises(SourceInvalid, match="stands for"):
            locations.open(place + pattern, "job")
    assert server.requests == []


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (answer(status=404), FetchFailed),
        (answer(status=401), FetchFailed),
        (answer(b"x" * (MAX_BYTES + 1)), ContentTooLarge),
        (flood(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536), ContentTooLarge),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nid,title\n1,red\n", FetchFailed),
        (redirect("file:///etc/passwd"), UrlForbidden),
        (redirect("http://10.0.0.1/catalog.csv"), UrlForbidden),
    ],
    ids=["not found", "no right to", "declared too large", "endless", "cut off", "to a file", "to a private address"],
)
def test_what_cannot_be_downloaded_leaves_nothing_half(
    locations: Locations, server: Server, spool: Path, given: Answer, error: type[Exception]
) -> None:
    def once(request: Request, connection: socket.socket) -> bytes | None:
        if callable(given):
            return given(request, connection)
        connection.sendall(given)
        return None

    server.answers["/shop/catalog.csv"] = once
    with pytest.raises(error):
        locations.open(f"{server.url}/shop/catalog.csv", "job")
    assert held(spool) <= {"job"}


def test_the_limit_is_that_of_all_shards_together(open_locations: Open, server: Server, tmp_path: Path) -> None:
    write_tar(tmp_path / "s.tar", products(2))
    data = (tmp_path / "s.tar").read_bytes()
    server.answers |= {"/0.tar": answer(data), "/1.tar": answer(data)}
    with pytest.raises(ContentTooLarge, match=f"{2 * len(data) - 1:,} bytes"):
        open_locations(max_bytes=2 * len(data) - 1).open(f"{server.url}/{{0..1}}.tar", "job")
    with pytest.raises(ContentTooLarge):  # what is here already counts
        open_locations(max_bytes=2 * len(data) - 1).open(f"{server.url}/{{0..1}}.tar", "job")
    assert len(ids(open_locations(max_bytes=2 * len(data)).open(f"{server.url}/{{0..1}}.tar", "job"))) == 4


def test_addresses_that_are_not_public_are_not_asked(spool: Path, server: Server) -> None:
    with Fetcher() as fetcher:
        strict = Locations(spool, [], fetcher, ObjectStores([]), MAX_BYTES)
        with pytest.raises(UrlForbidden):
            strict.open(f"{server.url}/shop/catalog.csv", "job")
    assert server.requests == []


def test_a_job_that_is_to_end_ends_its_download(locations: Locations, server: Server, spool: Path) -> None:
    class Ended(Exception):
        pass

    def check() -> None:
        if held(spool) >= {"job/.partial"}:
            raise Ended

    server.answers["/endless.csv"] = flood(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1000)
    with pytest.raises(Ended):
        locations.open(f"{server.url}/endless.csv", "job", check)
    assert held(spool) == {"job"}


def test_a_fetcher_that_ends_with_the_server_is_no_fault_of_the_address(locations: Locations) -> None:
    class Ended(Exception):
        pass

    def check() -> None:
        raise Ended

    with pytest.raises(Ended):
        locations.open("http://127.0.0.1:1/a.csv", "job", check)


# Object stores


def test_a_catalogue_in_an_object_store_is_downloaded_once(
    locations: Locations, object_store: ObjectStore, spool: Path
) -> None:
    source = object_store.put("public/a#1/cat?.csv", csv_bytes(products(2)))
    place = locations.open(source, "job")
    assert images(place) == [f"s3://shop/public/a#1/images/{product.id}.png" for product in products(2)]
    object_store.delete("public/a#1/cat?.csv")
    assert locations.open(source, "job") == place
    locations.forget(source, "job")
    assert held(spool) == set()


@pytest.mark.parametrize(
    "source",
    ["s3://shop/private/a.csv", "s3://other/a.csv", "s3://shop", "gs://shop/public/a.csv", "s3://shop/public/../a"],
)
def test_objects_outside_the_allowed_prefixes_are_refused(locations: Locations, source: str) -> None:
    for ask in (locations.check, lambda source: locations.open(source, "job")):
        with pytest.raises(SourceForbidden, match="SIGHTLINE_INGEST_ROOTS"):
            ask(source)


def test_an_object_over_the_limit_leaves_nothing(open_locations: Open, object_store: ObjectStore, spool: Path) -> None:
    source = object_store.put("public/a.csv", bytes(3 * 2**20))
    with pytest.raises(ContentTooLarge):
        open_locations(max_bytes=3 * 2**20 - 1).open(source, "job")
    assert held(spool) == {"job"}


def test_shards_in_an_object_store_are_one_catalogue(
    locations: Locations, object_store: ObjectStore, tmp_path: Path
) -> None:
    made = products(6)
    for n in range(3):
        write_tar(tmp_path / "s.tar", made[2 * n : 2 * n + 2])
        object_store.put(f"public/shards/s-{n + 9:02}.tar", (tmp_path / "s.tar").read_bytes())
    everything = [product.id for product in made]
    assert ids(locations.open("s3://shop/public/shards/s-{09..11}.tar", "pattern")) == everything
    assert ids(locations.open("s3://shop/public/shards/", "folder")) == everything
    with pytest.raises(FetchFailed, match=r"s-12\.tar .*does not exist"):
        locations.open("s3://shop/public/shards/s-{09..12}.tar", "too many")


def test_shards_whose_names_are_alike_as_files_are_all_read(
    locations: Locations, object_store: ObjectStore, tmp_path: Path
) -> None:
    for n, name in enumerate(["é.tar", "ü.tar", "ü.TAR"]):
        write_tar(tmp_path / "s.tar", products(3)[n : n + 1])
        object_store.put(f"public/{name}", (tmp_path / "s.tar").read_bytes())
    assert sorted(ids(locations.open("s3://shop/public/", "job"))) == ["p000", "p001", "p002"]


def test_a_folder_of_an_object_store_is_what_one_on_the_disk_is(
    open_locations: Open, object_store: ObjectStore, shop: Path
) -> None:
    (shop / "images").mkdir()
    for name in ("images/é b#1?.png", "z.png"):
        (shop / name).write_bytes(picture("red"))
        object_store.put(f"public/shop/{name}", picture("red"))
    object_store.put("public/shop/readme.txt", b"text")
    locations = open_locations("s3://shop")
    pictures = locations.open("s3://shop/public/shop/", "pictures")
    assert ids(pictures) == ids(locations.open(str(shop), "local")) == ["images/é b#1?.png", "z.png"]
    assert images(pictures) == [f"s3://shop/public/shop/{name}" for name in ids(pictures)]

    for folder in ("public/shop/", ""):
        object_store.put(f"{folder}catalog.csv", b"id,image\na,z.png\n")
        assert images(locations.open(f"s3://shop/{folder}", f"catalogue {folder}")) == [f"s3://shop/{folder}z.png"]
    assert images(locations.open("s3://shop", "bucket")) == ["s3://shop/z.png"]


def test_a_folder_that_changes_while_a_job_rests_is_what_the_job_began_with(
    open_locations: Open, object_store: ObjectStore
) -> None:
    object_store.put("public/a.png", picture("red"))
    place = open_locations().open("s3://shop/public/", "job")
    object_store.put("public/b.png", picture("red"))
    object_store.put("public/catalog.csv", CSV)
    assert open_locations().open("s3://shop/public/", "job") == place
    assert ids(place) == ["a.png"]


def test_a_folder_without_a_catalogue_is_refused_with_words(locations: Locations, object_store: ObjectStore) -> None:
    object_store.put("public/readme.txt", b"x")
    with pytest.raises(SourceInvalid, match=r"holds no catalog\.csv"):
        locations.open("s3://shop/public/", "job")
    with pytest.raises(FetchFailed, match="ends with /"):
        locations.open("s3://shop/public", "job")


# What is left


def test_what_belongs_to_no_job_is_swept(open_locations: Open, server: Server, spool: Path) -> None:
    locations = open_locations()
    locations.sweep([])  # there is no spool yet
    kept, _ = locations.receive(io.BytesIO(CSV), "kept.csv")
    lost, _ = locations.receive(io.BytesIO(CSV), "lost.csv")
    url = f"{server.url}/shop/catalog.csv"
    for job in ("resumes", "ended"):
        locations.open(url, job)
    open_locations().sweep([(kept, "a"), (url, "resumes"), ("/some/path", "b")])
    assert {name for name in held(spool) if "/" not in name} == {kept[len("upload:") :].partition("/")[0], "resumes"}
    assert ids(open_locations().open(kept, "a")) == ids(open_locations().open(url, "resumes")) == ["1", "2"]
    with pytest.raises(SourceInvalid, match="send it again"):
        open_locations().open(lost, "c")


def test_what_a_killed_process_left_half_is_downloaded_anew(
    locations: Locations, server: Server, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(module.Path, "rename", kill)
        patched.setattr(module.Path, "unlink", lambda *_, **__: None)
        with pytest.raises(Killed):
            locations.open(f"{server.url}/shop/catalog.csv", "job")
    assert held(spool) == {"job", "job/.partial"}
    assert ids(locations.open(f"{server.url}/shop/catalog.csv", "job")) == ["1", "2"]
    assert held(spool) == {"job", "job/catalog.csv", "job/.brought"}
