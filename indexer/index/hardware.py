"""`Hardware`: what indexes may use of the machine."""

import os
from dataclasses import dataclass, field
from typing import Self

from indexer.index.gpu import Gpu
from models.sessions import Device

MEMORY_SHARE = 4
"""By default a graph may take one part in so many of the machine's memory."""


def machine_share() -> int:
    """Bytes that a graph may take by default."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MEMORY_SHARE


@dataclass(frozen=True)
class Hardware:
    """What indexes may use of the machine."""

    memory_bytes: int = field(default_factory=machine_share)
    """That the graph of one segment may take, where a collection does not ask for one."""
    gpu: Gpu | None = None
    """Where built segments are searched, as far as it has room."""

    @classmethod
    def of(cls, memory_bytes: int | None, device: Device) -> Self:
        """That of settings; without `memory_bytes` a graph may take a quarter of the memory."""
        return cls(machine_share() if memory_bytes is None else memory_bytes, Gpu.find(device))
