"""Small disks that fill up, and folders that turn read-only: mounts of their own, which need the right to mount."""

import math
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_BLOCK = bytes(4096)


def _run(*arguments: object) -> None:
    done = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs the right to mount file systems: {done.stderr.strip()}")


class Disk:
    """A file system in memory, at `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        """Leave not a byte."""
        with suppress(OSError), (self.folder / "ballast").open("ab", buffering=0) as file:
            while file.write(_BLOCK):
                pass

    def used_mib(self) -> int:
        """What is on it, rounded up."""
        return math.ceil(shutil.disk_usage(self.folder).used / 2**20)

    def free(self) -> None:
        """Space returns."""
        (self.folder / "ballast").unlink()

    def grow(self, mebibytes: int) -> None:
        """Make it larger."""
        _run("mount", "-o", f"remount,size={mebibytes}m", self.folder)


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[Disk]:
    """Mount an empty disk of this size; it goes with the block, whoever still has files open there."""
    folder.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "sightline-test", folder)
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """What is opened within the block at a path, or below it, cannot be written to."""
    _run("mount", "--bind", path, path)
    try:
        _run("mount", "-o", "remount,bind,ro", path)
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
