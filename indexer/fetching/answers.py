"""What the server of a URL from outside answers: none of it is trusted."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpcore

from indexer.errors import ContentTooLarge, FetchFailed

ETAG = re.compile(r'(?:W/)?"[!#-~]{0,256}"')

_REDIRECTS = (301, 302, 303, 307, 308)
_TRANSIENT = (429, 502, 503, 504)


@dataclass(frozen=True)
class Head:
    """Status and headers of an answer; `fields` has the names in lower case."""

    status: int
    fields: Mapping[str, str]

    @classmethod
    def of(cls, response: httpcore.Response) -> "Head":
        """The head of a response."""
        fields = {name.decode("latin-1").lower(): value.decode("utf-8", "replace") for name, value in response.headers}
        return cls(response.status, fields)

    @property
    def etag(self) -> str | None:
        """The entity tag, if it is one."""
        etag = self.fields.get("etag", "")
        return etag if ETAG.fullmatch(etag) else None

    @property
    def media_type(self) -> str | None:
        """As declared, without parameters."""
        return self.fields.get("content-type", "").partition(";")[0].strip().lower() or None

    @property
    def location(self) -> str | None:
        """Where a redirect leads; None where it is none."""
        return self.fields.get("location", "") if self.status in _REDIRECTS else None

    @property
    def retry_after_s(self) -> float | None:
        """Seconds to wait, which the header gives as such or as a date."""
        given = self.fields.get("retry-after", "").strip()
        if re.fullmatch(r"[0-9]{1,9}", given):
            return float(given)
        try:
            return max(0.0, (parsedate_to_datetime(given).astimezone(UTC) - datetime.now(UTC)).total_seconds())
        except (ValueError, OverflowError):
            return None

    def check(self, *, conditional: bool) -> None:
        """Raise `FetchFailed` unless a body as it is follows, or (`conditional`) the word that it is not modified."""
        if self.status in _TRANSIENT:
            detail = f"the URL's server answers with status {self.status}"
            raise FetchFailed(detail, transient=True, retry_after_s=self.retry_after_s)
        if self.status != 200 and not (self.status == 304 and conditional):
            raise FetchFailed(f"the URL's server answers with status {self.status}")
        if self.fields.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise FetchFailed("the URL's server sends an encoded body, which was not asked for")


@dataclass(frozen=True)
class Sink:
    """Where a body goes, and how many bytes of it at most."""

    write: Callable[[bytes], object]
    max_bytes: int

    def fill(self, head: Head, blocks: Iterator[bytes]) -> int:
        """Write the whole body; its size in bytes.

        Raises:
            ContentTooLarge: It has, or is said to have, more than `max_bytes`.
        """
        declared = head.fields.get("content-length", "0")  # httpcore has seen to it that it is a number
        if int(declared) > self.max_bytes and head.status != 304:
            raise self._too_large()
        size = 0
        for block in blocks:
            size += len(block)
            if size > self.max_bytes:
                raise self._too_large()
            self.write(block)
        return size

    def _too_large(self) -> ContentTooLarge:
        return ContentTooLarge(f"what the URL gives has more than the {self.max_bytes:,} bytes allowed")
