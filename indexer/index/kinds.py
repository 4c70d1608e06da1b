"""Kinds of built segments, and which one is chosen for how many vectors."""

import os
from pathlib import Path
from typing import Literal

from indexer.index import graph

Kind = Literal["flat", "hnsw", "ivf"]
IndexSetting = Literal["auto", "flat", "hnsw", "ivf"]

FLAT_COMPONENTS = 2**23
"""Components of vectors (16,384 of 512) below which a scan is as fast as what could be built."""
GRAPH_COMPONENTS = 2**26
"""Components (131,072 vectors of 512) below which `auto` builds no graph: one costs 20 times what lists cost, and a
segment of this size is soon merged into a larger one."""
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


def choose_kind(setting: IndexSetting, count: int, dimension: int, memory_bytes: int) -> IndexSetting:
    """The kind of a segment of so many vectors; `auto` where the vectors themselves are to decide.

    Args:
        setting: What the collection asks for; small segments are flat in any case.
        memory_bytes: What a graph may take where it is not asked for.
    """
    components = count * dimension
    if setting == "flat" or components < FLAT_COMPONENTS:
        return "flat"
    if setting != "auto":
        return setting
    fits = count * (2 * dimension + graph.ROW_BYTES) <= memory_bytes
    return "auto" if fits and components >= GRAPH_COMPONENTS else "ivf"
