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
        self._chosen, self._count = chosen, count
        self.live = count if chosen is None else int(np.count_nonzero(chosen))
        """Number of rows in it."""

    def holds(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these rows are in it."""
        return np.ones(rows.shape, dtype=bool) if self._chosen is None else self._chosen[rows]

    @property
    def selector(self) -> faiss.IDSelector | None:
        """For a scan of all rows; None where it selects all, of which FAISS is faster."""
        return self._list if self.live * FEW < self._count else self.bitmap

    @cached_property
    def bitmap(self) -> faiss.IDSelector | None:
        """For a search that asks row by row; None where it selects all."""
        if self._chosen is None or self.live == self._count:
            return None
        bits = np.packbits(self._chosen, bitorder="little")
        return _keep(bits, faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits)))

    @cached_property
    def _list(self) -> faiss.IDSelector:
        rows = np.flatnonzero(np.asarray(self._chosen))
        return _keep(rows, faiss.IDSelectorArray(self.live, faiss.swig_ptr(rows)))


def _keep(memory: NDArray[Any], selector: faiss.IDSelector) -> faiss.IDSelector:
    """A selector points to memory that must live as long as it does."""
    selector.memory = memory
    return selector
