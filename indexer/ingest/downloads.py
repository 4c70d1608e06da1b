"""Catalogues from elsewhere: a file behind an URL, several by a pattern, what a folder of an object store holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlunsplit

from indexer.errors import ContentTooLarge, FetchFailed, SourceInvalid
from indexer.fetching.fetcher import Fetcher
from indexer.fetching.objects import ObjectStores, is_object_url
from indexer.ingest.arrivals import Checked, arriving, plain_name, write
from indexer.ingest.remote_folders import list_pictures, look_into
from indexer.sources import Check, expand, url_parts, without_secrets

DOWNLOAD_TIMEOUT_S = 6 * 3600.0
_PICTURES = "pictures.jsonl"


@dataclass(frozen=True)
class Downloads:
    """Brings what an address gives to a folder; what is there already is not asked for again.

    Args:
        max_bytes: Most bytes of one catalogue.
    """

    fetcher: Fetcher
    objects: ObjectStores
    max_bytes: int

    def bring(self, source: str, folder: Path, check: Check) -> tuple[str, str]:
        """Download a file, several by a pattern, or what a folder of an object store holds.

        Returns:
            What stands for it within `folder`, and what the names in it are joined to.
        """
        parts = parts_of(source)
        above, _, name = parts.path.rpartition("/")
        if is_object_url(source) and not name:
            return self._bring_folder(urlunsplit(parts._replace(path=f"{above}/")), folder, check)
        names = list(expand(name))
        if names == [name]:
            self._download({plain_name(unquote(name)): source}, folder, check)
            return plain_name(unquote(name)), source
        self._download_shards([urlunsplit(parts._replace(path=f"{above}/{one}")) for one in names], folder, check)
        return ".", source

    def _bring_folder(self, url: str, folder: Path, check: Check) -> tuple[str, str]:
        found = look_into(self.objects, url, check)
        if found.catalogue:
            return self.bring(url + found.catalogue, folder, check)
        if found.shards:
            self._download_shards([url + name for name in found.shards], folder, check)
            return ".", url
        write(folder / _PICTURES, list_pictures(self.objects, url), self.max_bytes, check)
        return _PICTURES, url

    def _download_shards(self, urls: Sequence[str], folder: Path, check: Check) -> None:
        # Numbered, since different names may be alike as plain ones, and their order is that of the rows.
        self._download({f"{number:06}.tar": url for number, url in enumerate(urls)}, folder, check)

    def _download(self, urls: Mapping[str, str], folder: Path, check: Check) -> None:
        """Files that make one catalogue, by their names here; those that are not here yet."""
        left = self.max_bytes
        for name, url in urls.items():
            path = folder / name
            try:
                if not path.exists():
                    self._fetch(url, path, left, check)
            except FetchFailed:
                check()  # that the server ends is no fault of the address
                raise
            except ContentTooLarge as error:
                detail = f"the catalogue has more than the {self.max_bytes:,} bytes allowed"
                raise ContentTooLarge(detail, "/source") from error
            left -= path.stat().st_size

    def _fetch(self, url: str, path: Path, max_bytes: int, check: Check) -> None:
        if is_object_url(url):
            write(path, self.objects.blocks(url), max_bytes, check)
            return
        try:
            with arriving(path) as file:
                target = Checked(file, check)
                self.fetcher.download(url, target, max_bytes=max_bytes, total_timeout_s=DOWNLOAD_TIMEOUT_S)
        except FetchFailed as error:
            raise FetchFailed(f"{without_secrets(url)[:200]} could not be downloaded: {error.detail}") from error


def parts_of(url: str) -> SplitResult:
    """The parts of a source's address; raises `SourceInvalid` for a malformed one."""
    try:
        return url_parts(url)
    except ValueError as error:
        raise SourceInvalid(f"{url[:200]!r} is not an URL: {error}", "/source") from error
