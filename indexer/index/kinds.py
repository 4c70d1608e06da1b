"""Kinds of built segments, and which one is chosen for how many vectors."""

from typing import Literal

from indexer.index import graph

Kind = Literal["flat", "hnsw", "ivf"]
IndexSetting = Literal["auto", "flat", "hnsw", "ivf"]

FLAT_COMPONENTS = 2**23
"""Components of vectors (16,384 of 512) below which a scan is as fast as what could be built."""


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
    return "auto" if fits else "ivf"
