"""`Disk`: what must stay free on the disk of the data folder."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from indexer.errors import StorageUnavailable


@dataclass(frozen=True)
class Disk:
    """The disk of a folder; some of it stays free for merges of the index, the log of the database and whoever else."""

    folder: Path
    min_free_bytes: int = 0

    def check(self) -> None:
        """Called before what makes the folder larger; raises `StorageUnavailable` while too little is free."""
        if not self.min_free_bytes:
            return
        free = shutil.disk_usage(self.folder).free
        if free < self.min_free_bytes:
            raise StorageUnavailable(
                f"the disk has {free >> 20:,} MiB free, and nothing is added below {self.min_free_bytes >> 20:,} MiB"
            )
