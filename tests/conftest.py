"""What holds for all tests."""

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings

MEMORY = Path("/dev/shm")
ROOM = 2 * 2**30

# A machine that does other work, too, is slow now and then; that is no fault of what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# Where GNU readline is loaded, as it is by pytest, children find the width of its terminal; ours have none.
os.environ.pop("COLUMNS", None)

# Each of thousands of small catalogues waits for the disk at every commit; of a disk in memory all is tested as well.
if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)
