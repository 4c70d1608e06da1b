"""Where the pictures are that a catalogue names: on the disk beside it, or at the URL it came from."""

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

from indexer.errors import SourceInvalid
from indexer.sources.values import shortened

MAX_PICTURE_BYTES = 64 * 2**20
"""More than any picture may have that an item takes; a larger one is not even read."""

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
OBJECT_STORES = frozenset({"s3", "gs", "az", "abfss"})
_FETCHED = frozenset({"http", "https", *OBJECT_STORES})
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)

Find = Callable[[str], bytes | Path | str]
"""The picture of a relative name; raises `ValueError` where there is none, or it leads out of the place."""

Place = Callable[[], AbstractContextManager[Find]]
"""Opens what must be open while pictures are looked for."""


def url_parts(url: str) -> SplitResult:
    """The parts of a URL; in an object store all that follows the bucket is the key, as it is written.

    Raises:
        ValueError: It is malformed.
    """
    scheme, colon, rest = url.partition("://")
    if colon and scheme.lower() in OBJECT_STORES:
        bucket, slash, key = rest.partition("/")
        return SplitResult(scheme.lower(), bucket, slash + key, "", "")
    return urlsplit(url)


def without_secrets(url: str) -> str:
    """A URL without what may be a password or a signature."""
    parts = url_parts(url)
    host = parts.netloc if parts.scheme in OBJECT_STORES else parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def is_picture(name: str) -> bool:
    """Whether a file is taken for a picture by its name; what macOS leaves beside files (`._a.jpg`) is none."""
    base = name.rpartition("/")[2]
    return Path(base).suffix.lower() in IMAGE_SUFFIXES and not base.startswith("._") and "__MACOSX/" not in name


def find_image(named: str, find: Find) -> bytes | Path | str | None:
    """What an image cell names; raises `ValueError` for what is no picture of the catalogue."""
    if not named:
        return None
    if named[:5].lower() == "data:":
        return named
    if named[:5].lower() == "file:":
        raise ValueError(f"the image {shortened(named)!r} is a file: URL; give its path relative to the catalogue")
    scheme = _SCHEME.match(named)
    if scheme is None:
        return find(named)
    if scheme[1].lower() not in _FETCHED:
        raise ValueError(f"the image {shortened(named)!r} has a scheme that is not read; http(s) and s3 are")
    return named


def on_disk(folder: Path, within: Sequence[Path] | None = None) -> Place:
    """Pictures are files, named from a folder or by absolute paths, in that folder or in those of `within` instead."""
    allowed = [root.resolve() for root in ((folder,) if within is None else within)]
    return lambda: nullcontext(partial(_file, folder, allowed))


def at_url(base_url: str) -> Place:
    """Pictures are beside the URL that the catalogue came from; raises `SourceInvalid` for what is no such URL."""
    base = url_parts(base_url)
    if base.scheme not in _FETCHED or not base.netloc:
        raise SourceInvalid(f"{shortened(base_url)} is not an http(s) or object-store URL")
    folder = base.path.split("/")[1:-1]
    join = partial(_object_url if base.scheme in OBJECT_STORES else _http_url, base.scheme, base.netloc)
    return lambda: nullcontext(lambda named: join(_joined(folder, named)))


def inside(folder: list[str], named: str) -> list[str]:
    """The parts of the path of a name within a folder; raises `ValueError` where it is absolute or leads out."""
    parts = named.replace("\\", "/").split("/")
    if not parts[0] or re.match("[A-Za-z]:", named):
        raise ValueError(f"the image {shortened(named)!r} is an absolute path; give it relative to the catalogue")
    path = list(folder)
    for part in parts:
        if part == "..":
            if not path:
                raise ValueError(f"the image {shortened(named)!r} leads out of the catalogue's place")
            path.pop()
        elif part not in ("", "."):
            path.append(part)
    return path


def _joined(folder: list[str], named: str) -> list[str]:
    if any(character < " " for character in named):
        raise ValueError(f"the image {shortened(named)!r} is not a path")
    return inside(folder, named)


def _http_url(scheme: str, host: str, path: list[str]) -> str:
    # What is escaped already stays so, and a query is one; a # can only belong to the name.
    return urlunsplit((scheme, host, "/" + quote("/".join(path), safe="/%?&=+,;:@!$'()*~"), "", ""))


def _object_url(scheme: str, bucket: str, path: list[str]) -> str:
    return f"{scheme}://{bucket}/{'/'.join(path)}"  # a key is taken as it is written


def _file(folder: Path, allowed: Sequence[Path], named: str) -> Path:
    shown = shortened(named)
    if not allowed:
        raise ValueError(
            f"the image {shown!r} did not come with the catalogue: upload both in a zip file, name pictures by URL, "
            "or use `sightline ingest FILE`, which sends those beside the file"
        )
    try:
        path = (folder / named).resolve()
        if "\\" in named and not path.exists():
            path = (folder / named.replace("\\", "/")).resolve()
        is_inside, is_file = any(map(path.is_relative_to, allowed)), path.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # too long a name, a NUL in it, a circle of links
        raise ValueError(f"the image {shown!r} is not a path") from error
    if not is_inside:
        raise ValueError(f"the image {shown!r} is outside the folders that its catalogue may name")
    if not is_file:
        raise ValueError(f"the image {shown!r} does not exist")
    return path
