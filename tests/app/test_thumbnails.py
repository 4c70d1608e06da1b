"""`Thumbnails`: each is made once while there is room for it."""

import io
from collections.abc import Callable

import pytest
from PIL import Image
from prometheus_client import generate_latest

from app.thumbnails import Thumbnails
from models.errors import ImageError
from models.imaging import ImageLimits
from tests.pictures import picture

ROOM = 1 << 20


def reading(data: bytes) -> tuple[Callable[[], bytes], list[bytes]]:
    """What gives the bytes, and a list of what it gave."""
    given: list[bytes] = []

    def read() -> bytes:
        given.append(data)
        return data

    return read, given


def test_a_kept_thumbnail_is_not_made_again() -> None:
    thumbnails, (read, given) = Thumbnails(ROOM, ImageLimits()), reading(picture("red", (400, 200)))

    first, second = (thumbnails.get("of red", 100, read) for _ in range(2))
    other = thumbnails.get("of red", 50, read)

    assert first == second
    assert len(given) == 2, "once for each width"
    with Image.open(io.BytesIO(first)) as wide, Image.open(io.BytesIO(other)) as narrow:
        assert (wide.size, narrow.size) == ((100, 50), (50, 25))
    counted = generate_latest(thumbnails.registry).decode()
    assert 'sightline_thumbnail_lookups_total{result="hit"} 1.0' in counted
    assert 'sightline_thumbnail_lookups_total{result="miss"} 2.0' in counted


def test_the_one_that_was_asked_for_longest_ago_makes_room() -> None:
    read, given = reading(picture("red", (64, 64)))
    size = len(Thumbnails(ROOM, ImageLimits()).get("any", 32, read))
    thumbnails = Thumbnails(2 * size, ImageLimits())
    for name in ("a", "b", "a", "c"):  # b goes
        thumbnails.get(name, 32, read)

    given.clear()
    thumbnails.get("a", 32, read)
    thumbnails.get("c", 32, read)
    assert not given
    thumbnails.get("b", 32, read)
    assert len(given) == 1


def test_without_room_nothing_is_kept() -> None:
    thumbnails, (read, given) = Thumbnails(0, ImageLimits()), reading(picture("red", (64, 64)))

    assert thumbnails.get("a", 32, read) == thumbnails.get("a", 32, read)
    assert len(given) == 2


def test_what_is_no_picture_is_not_kept() -> None:
    thumbnails, (read, given) = Thumbnails(ROOM, ImageLimits()), reading(b"no picture")

    for _ in range(2):
        with pytest.raises(ImageError):
            thumbnails.get("a", 32, read)
    assert len(given) == 2


def test_one_that_is_too_large_to_keep_drives_out_no_other() -> None:
    small, given = reading(picture("red", (64, 64)))
    thumbnails = Thumbnails(len(Thumbnails(ROOM, ImageLimits()).get("any", 32, small)), ImageLimits())
    thumbnails.get("small", 32, small)
    thumbnails.get("large", 400, reading(picture("red", (400, 200)))[0])

    given.clear()
    thumbnails.get("small", 32, small)
    assert not given


def test_one_that_was_made_twice_at_once_is_counted_once() -> None:
    read, given = reading(picture("red", (64, 64)))
    size = len(Thumbnails(ROOM, ImageLimits()).get("any", 32, read))
    thumbnails = Thumbnails(2 * size, ImageLimits())

    def read_meanwhile() -> bytes:
        thumbnails.get("a", 32, read)
        return read()

    thumbnails.get("a", 32, read_meanwhile)
    thumbnails.get("b", 32, read)
    given.clear()
    for name in ("a", "b"):
        thumbnails.get(name, 32, read)
    assert not given
