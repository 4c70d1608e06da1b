"""What the process does with memory that it no longer needs."""

import ctypes
import gc
import sys

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
"""Parameters of glibc's `mallopt`."""

LARGE_BYTES = 4 * 2**20
ARENAS = 2

YOUNG_OBJECTS, YOUNGER_PASSES = 10_000, 20
"""So many are made until Python's collector looks at them, and so often it does until it looks at older ones, too. What
a group of searches makes is gone with their answers; by default (700 and 10) it would be looked at many times."""


def set_aside() -> None:
    """Have Python's collector of cycles never look again at what there is now, which stays as long as the server.

    It would look at all of it every few requests, for as long as some of these take; and at what these make less often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, YOUNGER_PASSES, YOUNGER_PASSES)


def return_freed_memory() -> None:
    """Have glibc give large blocks back to the system as they are freed; elsewhere this does nothing.

    Left to itself it raises what it takes for large with each block freed, and gives each thread an arena: blocks of
    vectors and pictures, which come and go in many threads, then leave holes. During an ingest the process grew to
    several times what it used.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        mallopt(_M_ARENA_MAX, ARENAS)
