"""Which Sightline this is."""

from importlib.metadata import PackageNotFoundError, version


def read_version() -> str:
    """The installed version; `0` when run from a folder without installing."""
    try:
        return version("sightline")
    except PackageNotFoundError:
        return "0"
