"""`Hardware`: what indexes may use of the machine."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from indexer.index.gpu import Gpu
from models.sessions import Device

MEMORY_SHARE = 4
"""By default a graph may take one part in so many of the machine's memory."""
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
"""Where Linux tells a container what memory it has; `max` where that is all."""


def usable_memory() -> int:
    """Of this machine, or of the container that this process runs in."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = CGROUP_LIMIT.read_text().strip()
    except OSError:
        return machine
    return min(machine, int(limit)) if limit.isdigit() else machine


def machine_share() -> int:
    """Bytes that a graph may take by default."""
    return usable_memory() // MEMORY_SHARE


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
