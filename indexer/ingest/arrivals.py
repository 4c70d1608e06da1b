"""Files that arrive: each is in its place whole and durable, or not at all."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from indexer.errors import ContentTooLarge, StorageUnavailable
from indexer.sources import Check, unchecked
from indexer.stores.originals import sync_folder


def write(path: Path, blocks: Iterable[bytes], max_bytes: int, check: Check = unchecked) -> None:
    """Make a file of blocks.

    Raises:
        ContentTooLarge: They have more bytes than allowed.
        StorageUnavailable: There is no room for them.
    """
    size = 0
    with arriving(path) as file:
        for block in blocks:
            size += len(block)
            if size > max_bytes:
                raise ContentTooLarge(f"the catalogue has more than the {max_bytes:,} bytes allowed")
            Checked(file, check).write(block)


@contextmanager
def arriving(path: Path) -> Iterator[BinaryIO]:
    """A file that is at `path`, whole and durable, when the block has ended, or not at all."""
    partial = path.with_name(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        sync_folder(path.parent)
        sync_folder(path.parent.parent)
    except OSError as error:
        raise StorageUnavailable(f"the catalogue cannot be stored: {error.strerror}") from error
    finally:
        with suppress(OSError):  # what goes wrong with the folder is known already
            partial.unlink(missing_ok=True)


@dataclass(frozen=True)
class Checked:
    """A file that need not be filled to its end."""

    file: BinaryIO
    check: Check

    def write(self, data: bytes) -> None:
        """Write, unless it is to end."""
        self.check()
        self.file.write(data)


def plain_name(name: str) -> str:
    """A file name of a stranger's without anything that means more than a name; its suffixes tell the format."""
    plain = re.sub(r"[^A-Za-z0-9._{}-]", "_", name.replace("\\", "/").rpartition("/")[2])[-100:].lstrip(".")
    return plain or "catalogue"
