"""A picture named by a string, a `data:` URI or an `http(s)` URL, as bytes."""

import base64
import binascii
from collections.abc import Sequence
from contextlib import nullcontext
from urllib.parse import unquote_to_bytes

from indexer.errors import ContentTooLarge, FetchFailed, ImageFetchFailed, ItemInvalid, UrlForbidden
from indexer.fetching.addresses import Network
from indexer.fetching.fetcher import Fetched, Fetcher
from models.errors import ImageTooLarge
from models.imaging import ImageLimits


def load_image(
    reference: str,
    limits: ImageLimits,
    allowed: Sequence[Network] = (),
    pointer: str = "/image",
    *,
    fetcher: Fetcher | None = None,
) -> bytes:
    """The encoded bytes of a picture; they are not decoded yet.

    Args:
        reference: `data:` URI or `http(s)` URL.
        allowed: Networks that URLs may lead to although they are not public, where no `fetcher` is given.
        fetcher: What fetches; one is made for this picture alone where it is left out.

    Raises:
        ItemInvalid: Neither of the two, or a malformed `data:` URI.
        ImageTooLarge: More bytes than `limits.max_bytes`.
        UrlForbidden: The URL leads to an address that is not public.
        ImageFetchFailed: It answered with an error, too late, or with too many redirects.
    """
    if reference[:5].lower() == "data:":
        return decode_data_uri(reference, limits, pointer)
    if not is_url(reference):
        raise ItemInvalid("an image is a data: URI or an http(s) URL", pointer)
    with Fetcher(allowed) if fetcher is None else nullcontext(fetcher) as opened:
        return fetch_image(reference, limits, opened, pointer=pointer).content or b""


def is_url(reference: str) -> bool:
    """Whether a picture is named by a URL."""
    return reference[:8].lower().startswith(("http://", "https://"))


def fetch_image(
    url: str, limits: ImageLimits, fetcher: Fetcher, *, etag: str | None = None, pointer: str = "/image"
) -> Fetched:
    """The encoded bytes of a picture, or that it is still the one of `etag`.

    Raises:
        ImageTooLarge, UrlForbidden, ImageFetchFailed: As `load_image` does.
    """
    try:
        return fetcher.fetch(url, max_bytes=limits.max_bytes, etag=etag)
    except UrlForbidden as error:
        raise UrlForbidden(error.detail, pointer) from error
    except FetchFailed as error:
        raise ImageFetchFailed(error.detail, pointer) from error
    except ContentTooLarge as error:
        raise ImageTooLarge(f"the picture has more than the {limits.max_bytes:,} bytes allowed") from error


def decode_data_uri(uri: str, limits: ImageLimits, pointer: str = "/image") -> bytes:
    head, comma, body = uri[5:].partition(",")
    if not comma:
        raise ItemInvalid("a data: URI has the form data:image/jpeg;base64,...", pointer)
    if len(body) > 4 * limits.max_bytes:  # percent-encoding takes three characters a byte
        raise ImageTooLarge(f"the picture has more than the {limits.max_bytes:,} bytes allowed")
    if not head.endswith(";base64"):
        return unquote_to_bytes(body)
    try:
        return base64.b64decode(unquote_to_bytes(body) if "%" in body else body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ItemInvalid(f"the data: URI is not valid base64: {error}", pointer) from error
