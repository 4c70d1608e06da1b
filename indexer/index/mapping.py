"""Files that are read where they lie, without holding them in memory."""

import zlib
from collections.abc import Iterator
from mmap import ACCESS_READ, MADV_DONTNEED, PAGESIZE, mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BLOCK = 4096
"""Vectors read at a time."""
_CHUNK = 2**22


def map_file(path: Path) -> mmap:
    """Its bytes, read from the disk as they are used."""
    with path.open("rb") as file:
        return mmap(file.fileno(), 0, access=ACCESS_READ)


def leave(mapping: mmap, start: int, stop: int) -> None:
    """Bytes that are read once shall not count as this process's memory; the system still caches them."""
    start = start // PAGESIZE * PAGESIZE
    mapping.madvise(MADV_DONTNEED, start, stop - start)


def checksum(path: Path) -> int:
    """CRC-32 of a file."""
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc


class VectorFile:
    """Vectors float32 [n, d] in a file, read block by block."""

    def __init__(self, path: Path, dimension: int) -> None:
        self._mapping = map_file(path)
        self.vectors: NDArray[np.float32] = np.frombuffer(self._mapping, "<f4").reshape(-1, dimension)

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Every block with the row that it begins with."""
        for start in range(0, len(self.vectors), BLOCK):
            yield start, self.vectors[start : start + BLOCK]
            leave(self._mapping, 0, len(self._mapping))

    def sample(self, count: int, seed: int) -> NDArray[np.float32]:
        """Copies of so many rows at most, drawn without putting back, in the order in which they lie."""
        rows = np.random.default_rng(seed).choice(len(self.vectors), min(count, len(self.vectors)), replace=False)
        drawn = self.vectors[np.sort(rows)]
        leave(self._mapping, 0, len(self._mapping))
        return np.asarray(drawn)
