"""How many threads FAISS takes."""

import os
import subprocess
import sys

import pytest

_SCRIPT = """
import os
os.sched_setaffinity(0, {core})
import faiss
from indexer.index.exact import use_threads
from indexer.ingest.pipeline import DECODERS
use_threads(1)
one = faiss.omp_get_max_threads()
use_threads(100)
print(one, faiss.omp_get_max_threads(), DECODERS)
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux restricts a process to some cores")
def test_no_more_threads_are_taken_than_there_are_cores_for_this_process() -> None:
    script = _SCRIPT.format(core={min(os.sched_getaffinity(0))})
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1", "1"]
