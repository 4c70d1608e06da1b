"""Object stores, against one that speaks S3 on loopback."""

import time

import pytest

from indexer.errors import FetchFailed, SourceForbidden
from indexer.fetching.objects import ObjectStores, is_object_url
from models.errors import ImageTooLarge
from tests.object_store import ObjectStore, configure


@pytest.fixture
def objects() -> ObjectStores:
    return ObjectStores(["/some/folder", "s3://shop/public/", "s3://shop/other"])


def test_object_urls_are_told_from_others() -> None:
    for url in ("s3://shop/a.csv", "gs://shop/a.csv", "az://shop/a.csv", "abfss://a@b.dfs.core.windows.net/a.csv"):
        assert is_object_url(url)
    for other in ("s3", "s3:/shop/a.csv", "/s3://shop/a.csv", "https://shop/a.csv", "file:///a.csv", ""):
        assert not is_object_url(other)


@pytest.mark.parametrize(
    "key", ["a.png", "a b#1?.png", "50%25 off.png", "%2e%2e.png", "100%.png", "ü/é.png", "back\\slash.png", "a&b=c.png"]
)
def test_keys_are_taken_as_they_are_written(object_store: ObjectStore, objects: ObjectStores, key: str) -> None:
    object_store.put("%2e%2e.png", b"another")
    url = object_store.put(f"public/{key}", key.encode())
    assert b"".join(objects.blocks(url)) == key.encode()
    assert objects.fetch(url, max_bytes=100).content == key.encode()
    assert list(objects.names("s3://shop/public/")) == [key]


@pytest.mark.parametrize(
    "url",
    [
        "s3://shop/secret.csv",
        "s3://shop/publicly.csv",
        "s3://shop/public/../secret.csv",
        "s3://shop/public/a/../../secret.csv",
        "s3://shop/",
        "s3://shop",
        "s3://another/public/a.csv",
        "gs://shop/public/a.csv",
        "S3://shop/public/a.csv",
        "s3:///shop/public/a.csv",
    ],
)
def test_nothing_outside_the_allowed_prefixes_is_asked_for(
    object_store: ObjectStore, objects: ObjectStores, url: str
) -> None:
    object_store.put("secret.csv", b"secret")
    for ask in (objects.check, lambda url: list(objects.blocks(url)), lambda url: list(objects.names(url))):
        with pytest.raises(SourceForbidden, match="SIGHTLINE_INGEST_ROOTS"):
            ask(url)
    with pytest.raises(SourceForbidden):
        objects.fetch(url, max_bytes=100)


@pytest.mark.parametrize("url", ["s3://shop/public/%2e%2e/secret.csv", "s3://shop/public/..%2fsecret.csv"])
def test_what_is_escaped_leads_nowhere(object_store: ObjectStore, objects: ObjectStores, url: str) -> None:
    object_store.put("secret.csv", b"secret")
    with pytest.raises(FetchFailed, match="does not exist"):
        objects.fetch(url, max_bytes=100)


def test_without_allowed_prefixes_there_are_no_objects(object_store: ObjectStore) -> None:
    with pytest.raises(SourceForbidden):
        ObjectStores([]).check(object_store.put("a.csv", b"a"))


def test_what_the_store_does_not_give_is_said_in_one_line(object_store: ObjectStore) -> None:
    objects = ObjectStores(["s3://shop", "s3://nowhere"])
    for url in ("s3://shop/none.csv", "s3://nowhere/none.csv", "s3://shop/", "s3://shop/ctl\x00"):
        with pytest.raises(FetchFailed) as raised:
            list(objects.blocks(url))
        assert raised.value.detail.startswith(url)
        assert not {"\n", "<"} & set(raised.value.detail)
    with pytest.raises(FetchFailed, match="could not be listed"):
        list(objects.names("s3://nowhere/"))


def test_a_large_object_comes_in_pieces(object_store: ObjectStore, objects: ObjectStores) -> None:
    data = bytes(range(256)) * 2**14
    blocks = list(objects.blocks(object_store.put("public/a.bin", data)))
    assert len(blocks) > 1
    assert b"".join(blocks) == data


def test_a_picture_over_the_limit_is_not_read_to_its_end(object_store: ObjectStore, objects: ObjectStores) -> None:
    url = object_store.put("public/a.png", bytes(1000))
    assert objects.fetch(url, max_bytes=1000).size == 1000
    with pytest.raises(ImageTooLarge, match="999"):
        objects.fetch(url, max_bytes=999)


def test_an_object_that_did_not_change_is_not_sent_again(object_store: ObjectStore, objects: ObjectStores) -> None:
    url = object_store.put("public/a.png", b"first")
    first = objects.fetch(url, max_bytes=100)
    again = objects.fetch(url, max_bytes=100, etag=first.etag)
    assert (first.modified, first.content) == (True, b"first")
    assert (again.modified, again.content, again.etag) == (False, None, first.etag)
    object_store.put("public/a.png", b"second")
    assert objects.fetch(url, max_bytes=100, etag=first.etag).content == b"second"


def test_names_are_those_within_the_folder(object_store: ObjectStore, objects: ObjectStores) -> None:
    for key in ("public/a.png", "public/b/c.png", "public2/d.png", "other/e.png"):
        object_store.put(key, b"x")
    assert list(objects.names("s3://shop/public/")) == ["a.png", "b/c.png"]
    assert list(objects.names("s3://shop/public/b/")) == ["c.png"]
    assert list(objects.names("s3://shop/public/none/")) == []
    assert list(ObjectStores(["s3://shop"]).names("s3://shop/")) == [
        "other/e.png",
        "public/a.png",
        "public/b/c.png",
        "public2/d.png",
    ]


def test_a_store_that_is_not_there_is_soon_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, "http://127.0.0.1:1")
    started = time.monotonic()
    with pytest.raises(FetchFailed, match="could not be read"):
        ObjectStores(["s3://shop"]).fetch("s3://shop/a.png", max_bytes=100)
    assert time.monotonic() - started < 10


def test_a_store_that_is_not_configured_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(FetchFailed, match=r"could not be read: .*[Aa]ccount"):
        ObjectStores(["az://container"]).fetch("az://container/a.png", max_bytes=100)
