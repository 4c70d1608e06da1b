"""Sets of items and of a segment's rows, to which a search is confined."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

FEW = 4
"""Rows that are less than one in so many are listed for FAISS; of more it gets a bitmap, which it asks row by row."""


@dataclass(frozen=True)
class ItemSet:
    """Some items of a collection."""

    first: int
    """Primary key of the item that `mask` begins with."""
    mask: NDArray[np.bool_]
    """[n], whether an item is in the set, by its primary key less `first`."""

    @cached_property
    def pks(self) -> NDArray[np.int64]:
        """Primary keys of the items, ascending."""
        return np.flatnonzero(self.mask) + self.first

    def holds(self, items: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these items [m] are in the set."""
        return np.asarray(np.take(self._fenced, items - (self.first - 1), mode="clip"))

    def __len__(self) -> int:
        return int(np.count_nonzero(self.mask))

    @cached_property
    def _fenced(self) -> NDArray[np.bool_]:
        """The mask between two False, where keys outside of it are sent."""
        return np.pad(self.mask, 1)


class Selection:
    """Some rows of a segment, as FAISS takes them.

    Args:
        chosen: bool [n], which rows; None for all.
        count: n.
    """

    def __init__(self, chosen: NDArray[np.bool_] | None, count: int) -> None:
        self.live = count if chosen is None else int(np.count_nonzero(chosen))
        """Number of rows in it."""
        # FAISS is faster without a selector, and one points to memory that must live as long as it does.
        self.selector: faiss.IDSelector | None = None
        if chosen is None or self.live == count:
            return
        if self.live * FEW < count:
            self._memory: NDArray[Any] = np.flatnonzero(chosen)
            self.selector = faiss.IDSelectorArray(self.live, faiss.swig_ptr(self._memory))
        else:
            self._memory = np.packbits(chosen, bitorder="little")
            self.selector = faiss.IDSelectorBitmap(len(self._memory), faiss.swig_ptr(self._memory))
